"""The rows of the tables: what is declared."""

from earthtie_lite.experiments import plans
from earthtie_lite.experiments.evaluate import Evaluation
from earthtie_lite.experiments.plans import evaluations, table
from earthtie_lite.experiments.rows import Embedding, Recipe

TINY = Recipe("tiny", n=300, pairs=600, batch_size=64, n_degrees=3, width=16, out_dim=8)


def test_the_table_has_every_row_and_seed():
    rows = table()
    names = {row.name for row in rows if row.setting == "transductive"}
    assert {"coordinates", "harmonics", "density", "observations", "GeoCLIP", "untrained"} <= names
    assert {"satellite", "lights", "text", "ensemble"} <= names
    assert {f"{m} satellite+lights+text" for m in ("MELT", "SALT")} <= names
    assert {"untrained, no skip", "ensemble, no skip", "text, no skip"} <= names
    without = {name for name in names if name.endswith("no skip")}
    assert len(without) == 7 + 1 + 1  # subsets, ensemble, untrained
    assert len(names - without) == 6 + 7 + 4 + 1
    assert len(rows) == len(set(rows)) == 5 * (len(names) + 3)


def test_the_paper_s_training_has_every_variant_and_the_same_encoder():
    rows = plans.paper_table(range(2))
    assert len(rows) == len(set(rows)) == 2 * (7 + 4)
    assert {(row.recipe.batch_size, row.recipe.learning_rate) for row in rows} == {(2048, 1e-4)}
    for method, share in (("melt", 1), ("salt", 3)):
        (row,) = {r for r in rows if r.method == method and len(r.modalities) == 3 and not r.seed}
        config = row.recipe.config(method, 3, 0)
        assert (config.epochs, config.schedule) == (50 * share, "constant")
    assert {row.recipe.encoder(0).spec == plans.CHOSEN.encoder(0).spec for row in rows} == {True}


def test_the_paper_s_losses_are_of_its_rows_so_nothing_is_trained_twice():
    rows = plans.paper_dynamics(range(2))
    assert set(rows) < set(plans.paper_table(range(2)))
    assert {(row.method, len(row.modalities)) for row in rows} == {
        ("melt", 3),
        ("salt", 3),
        ("melt", 1),
    }


def test_the_modality_to_beat_is_named_for_every_task():
    assert set(plans.BEST_SINGLE) == {
        "elevation",
        "population",
        "climate",
        "country",
        "population (GPWv4)",
        "biome",
    }


def test_the_search_changes_one_thing_at_a_time_and_repeats_nothing():
    rows = plans.search()
    assert len(rows) == len(set(rows))
    assert {row.seed for row in rows} == {0}
    assert all(row.recipe in plans.SEARCH for row in rows)


def test_choices_need_few_budgets_and_the_report_has_every_check():
    few = evaluations(Embedding("untrained", TINY), "development")
    assert [(e.split, e.budgets, e.probe) for e in few] == [("block", (729, 6561), "ridge")]
    many = evaluations(Embedding("untrained", TINY), "report")
    assert {e.probe for e in many} == {"ridge", "neighbours", "MLP"}
    assert {e.split for e in many} == {"block", "random"}
    assert len({e.grid for e in many}) == 4
    bent = evaluations(Embedding("coordinates", TINY), "report")
    assert Evaluation(probe="trees") in bent
    assert len(set(bent)) == len(bent)


def test_retrieval_has_both_methods_an_unseen_region_and_a_baseline():
    rows = plans.retrievals(range(3))
    assert len(rows) == len(set(rows)) == 3 * 4
    kinds = {(row.kind, row.method, row.setting) for row in rows}
    assert ("trained", "melt", "inductive") in kinds
    assert ("trained", "salt", "transductive") in kinds
    assert ("untrained", "", "transductive") in kinds
