from depthbench.store.settings import conflicts, shared_settings

OLD = {"recipe": {"steps": 100, "batch_size": 128}}


def test_a_key_that_an_older_study_does_not_know_has_its_default():
    settings = shared_settings(OLD)
    assert settings["recipe.steps"] == 100
    assert settings["recipe.schedule"] == "step"
    assert conflicts(OLD, {"recipe": OLD["recipe"] | {"schedule": "step"}, "evaluate": {}}) == []
    assert conflicts(OLD, {"recipe": OLD["recipe"] | {"schedule": "cosine"}}) == [
        "recipe.schedule was step and is now cosine"
    ]


def test_keys_without_a_value_or_without_effect_on_the_result_are_left_out():
    settings = shared_settings({"data": {"path": "/images", "skip_bad_images": True, "val_size": 10}})
    assert settings["data.val_size"] == 10
    assert not {"data.path", "data.skip_bad_images", "data.val_fraction"} & settings.keys()


def test_grids_and_other_variants_are_no_conflict_but_variants_of_one_name_are():
    stored = OLD | {"grid": {"depth": [20]}, "variants": {"a": {"of": "plain"}, "b": {"of": "plain"}}}
    new = OLD | {"grid": {"depth": [56]}, "variants": {"b": {"of": "resnet"}, "c": {"of": "plain"}}}
    assert conflicts(stored, new) == ["variants.b was {'of': 'plain'} and is now {'of': 'resnet'}"]


def test_other_images_conflict_if_the_stored_study_names_its_own():
    hashed = OLD | {"data_hash": "a" * 64}
    assert conflicts(OLD, hashed) == []
    assert conflicts(hashed, OLD | {"data_hash": "b" * 64}) == [
        f"the hash of the images was {'a' * 12} and is now {'b' * 12}"
    ]
