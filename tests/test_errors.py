from depthbench.errors import BadInput, told


def test_what_a_person_can_mend_is_told_as_it_is_and_the_rest_by_its_kind():
    assert told(BadInput("image x.jpg cannot be read:\n mend it")) == "image x.jpg cannot be read: mend it"
    assert told(KeyError("x")) == "KeyError: 'x'"
