"""task: classification, one label for each text or pair of texts."""

from typing import TYPE_CHECKING

from ftkit.tasks.task import answers

if TYPE_CHECKING:
    from ftkit.tasks.classification.card import card_facts as card_facts
    from ftkit.tasks.classification.card import loading_lines as loading_lines
    from ftkit.tasks.classification.check import check_data as check_data
    from ftkit.tasks.classification.evaluate import losses_alone as losses_alone
    from ftkit.tasks.classification.evaluate import measure as measure
    from ftkit.tasks.classification.evaluate import score_on as score_on
    from ftkit.tasks.classification.form import load_splits as load_splits
    from ftkit.tasks.classification.form import made_up_row as made_up_row
    from ftkit.tasks.classification.new import columns as columns
    from ftkit.tasks.classification.new import new_recipe as new_recipe
    from ftkit.tasks.classification.new import told_by as told_by
    from ftkit.tasks.classification.new import usual_start as usual_start
    from ftkit.tasks.classification.scores import answer_keys as answer_keys
    from ftkit.tasks.classification.scores import in_pieces as in_pieces
    from ftkit.tasks.classification.scores import is_of as is_of
    from ftkit.tasks.classification.scores import metrics_of as metrics_of
    from ftkit.tasks.classification.scores import prediction_rows as prediction_rows
    from ftkit.tasks.classification.scores import read_back as read_back
    from ftkit.tasks.classification.scores import unit as unit
    from ftkit.tasks.classification.train import rehearse as rehearse
    from ftkit.tasks.classification.train import settled as settled
    from ftkit.tasks.classification.train import way_of as way_of
else:
    __getattr__ = answers(__name__)
