"""task: seq2seq, an encoder reads a text and a decoder writes another."""

from typing import TYPE_CHECKING

from ftkit.tasks.task import answers

if TYPE_CHECKING:
    from ftkit.tasks.seq2seq.card import card_facts as card_facts
    from ftkit.tasks.seq2seq.card import loading_lines as loading_lines
    from ftkit.tasks.seq2seq.check import check_data as check_data
    from ftkit.tasks.seq2seq.evaluate import losses_alone as losses_alone
    from ftkit.tasks.seq2seq.evaluate import measure as measure
    from ftkit.tasks.seq2seq.evaluate import score_on as score_on
    from ftkit.tasks.seq2seq.form import load_splits as load_splits
    from ftkit.tasks.seq2seq.form import made_up_row as made_up_row
    from ftkit.tasks.seq2seq.new import columns as columns
    from ftkit.tasks.seq2seq.new import new_recipe as new_recipe
    from ftkit.tasks.seq2seq.new import told_by as told_by
    from ftkit.tasks.seq2seq.new import usual_start as usual_start
    from ftkit.tasks.seq2seq.scores import answer_keys as answer_keys
    from ftkit.tasks.seq2seq.scores import in_pieces as in_pieces
    from ftkit.tasks.seq2seq.scores import is_of as is_of
    from ftkit.tasks.seq2seq.scores import metrics_of as metrics_of
    from ftkit.tasks.seq2seq.scores import prediction_rows as prediction_rows
    from ftkit.tasks.seq2seq.scores import read_back as read_back
    from ftkit.tasks.seq2seq.scores import unit as unit
    from ftkit.tasks.seq2seq.train import rehearse as rehearse
    from ftkit.tasks.seq2seq.train import settled as settled
    from ftkit.tasks.seq2seq.train import way_of as way_of
else:
    __getattr__ = answers(__name__)
