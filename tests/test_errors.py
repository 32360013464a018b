from depthbench.errors import BadInput, one_line


def test_bad_input_is_its_message_and_any_other_error_names_its_class():
    assert one_line(BadInput("x.jpg cannot be read:\n remove it")) == "x.jpg cannot be read: remove it"
    assert one_line(KeyError("x")) == "KeyError: 'x'"
