import json
from pathlib import Path

import pytest

from depthbench.store.record import Final, Hashes, Record

STORED = sorted((Path(__file__).parents[2] / "results" / "reference").glob("*/runs/*/run.json"))


def test_every_stored_record_is_written_as_it_was_read():
    """The files come from several versions, and some lack classes, image_shape or numbers of `final`."""
    assert len(STORED) >= 200
    for file in STORED:
        text = file.read_text(encoding="utf-8")
        assert Record.model_validate(json.loads(text)).to_json() == text, file


def test_unknown_keys_and_absent_keys_survive_a_change(tiny):
    values = json.loads(Record.of(next(tiny().runs()), step=3).to_json())
    values |= {"colour": "red", "hashes": {"data": "abc", "labels": None}, "reason": None}
    changed = Record.model_validate(values).changed(status="done")
    assert json.loads(changed.to_json()) == values | {"status": "done"}
    assert "chance_error" not in changed.to_dict()  # absent, which is not the same as null
    assert changed.chance_error is None


def test_the_order_of_keys_is_that_of_the_fields(tiny):
    record = Record.of(next(tiny().runs()), hashes=Hashes(data="abc")).changed(reason="boom", steps=12)
    fields = [name for name in Record.model_fields if name in record.to_dict()]
    assert list(record.to_dict()) == fields


def test_a_record_of_an_older_version_lacks_keys(tiny):
    values = Record.of(next(tiny().runs())).to_dict()
    old = {key: values[key] for key in ("format", "run_id", "network", "depth", "seed", "status")}
    record = Record.model_validate(old | {"run": {}})
    assert (record.family, record.plugin, record.final.test_error) == (record.network, "", None)
    assert (record.classes, record.timing.peak_memory, record.earlier_environments) == (None, None, ())


def test_the_family_of_a_variant_is_the_network_that_it_changes(tiny):
    (run,) = tiny(variants={"bare": {"of": "plain"}}, grid={"network": ["bare"]}).runs()
    assert (Record.of(run).network, Record.of(run).family) == ("bare", "plain")


def test_fields_that_do_not_exist_and_values_of_a_wrong_type_are_refused(tiny):
    run = next(tiny().runs())
    record = Record.of(run)
    with pytest.raises(TypeError, match="Record has no statuss"):
        record.changed(statuss="done")
    with pytest.raises(TypeError, match="Record has no parametres"):
        Record.of(run, parametres=7)
    with pytest.raises(TypeError, match="Hashes has no batch"):
        record.hashes.changed(batch="abc")
    with pytest.raises(ValueError, match="status"):
        record.changed(status="finished")


def test_numbers_of_final_evaluations_are_further_keys_of_final():
    final = Final(test_error=6.5, test_error_10crop=6.0)
    assert final.to_dict() == {"test_error": 6.5, "test_error_10crop": 6.0}


def test_a_new_record_is_interrupted(tiny):
    assert Record.of(next(tiny().runs())).status == "interrupted"


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("options", "norm", ["batch"]),
        ("options", "width", "16"),
        ("recipe", "milestones", [[0.5]]),
        ("recipe", "nesterov", 1),
        ("data", "name", {"digits": 1}),
        ("", "of", 7),
        ("", "recipe", []),
    ],
)
def test_a_setting_of_the_wrong_type_makes_a_record_unreadable(tiny, section, key, value):
    values = Record.of(next(tiny().runs())).to_dict()
    (values["run"][section] if section else values["run"])[key] = value
    with pytest.raises(ValueError, match=rf"{section}.{key} is "):
        Record.model_validate(values)


def test_choices_and_keys_of_a_newer_version_can_be_read(tiny):
    values = Record.of(next(tiny().runs())).to_dict()
    values["run"]["options"] |= {"norm": "newer", "unknown": [[1]]}
    values["run"]["recipe"]["lr"] = 1
    assert Record.model_validate(values).run["options"]["norm"] == "newer"
