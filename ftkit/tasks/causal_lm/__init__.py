"""task: causal_lm, a language model goes on with a text."""

from typing import TYPE_CHECKING

from ftkit.tasks.task import answers

if TYPE_CHECKING:
    from ftkit.tasks.causal_lm.card import card_facts as card_facts
    from ftkit.tasks.causal_lm.card import loading_lines as loading_lines
    from ftkit.tasks.causal_lm.check import check_data as check_data
    from ftkit.tasks.causal_lm.evaluate import losses_alone as losses_alone
    from ftkit.tasks.causal_lm.evaluate import measure as measure
    from ftkit.tasks.causal_lm.evaluate import score_on as score_on
    from ftkit.tasks.causal_lm.form import load_splits as load_splits
    from ftkit.tasks.causal_lm.form import made_up_row as made_up_row
    from ftkit.tasks.causal_lm.new import columns as columns
    from ftkit.tasks.causal_lm.new import new_recipe as new_recipe
    from ftkit.tasks.causal_lm.new import told_by as told_by
    from ftkit.tasks.causal_lm.new import usual_start as usual_start
    from ftkit.tasks.causal_lm.scores import answer_keys as answer_keys
    from ftkit.tasks.causal_lm.scores import in_pieces as in_pieces
    from ftkit.tasks.causal_lm.scores import is_of as is_of
    from ftkit.tasks.causal_lm.scores import metrics_of as metrics_of
    from ftkit.tasks.causal_lm.scores import prediction_rows as prediction_rows
    from ftkit.tasks.causal_lm.scores import read_back as read_back
    from ftkit.tasks.causal_lm.scores import unit as unit
    from ftkit.tasks.causal_lm.train import rehearse as rehearse
    from ftkit.tasks.causal_lm.train import settled as settled
    from ftkit.tasks.causal_lm.train import way_of as way_of
else:
    __getattr__ = answers(__name__)
