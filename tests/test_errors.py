from depthbench.errors import BadInput, one_line


def test_bad_input_is_its_message_and_any_other_error_names_its_class():
    assert one_line(BadInput("x.jpg cannot be read:\n remove it")) == "x.jpg cannot be read: remove it"
    assert one_line(SystemExit()) == "SystemExit"
    assert one_line(KeyError("x")) == "KeyError: 'x'"


def test_a_file_name_that_is_not_utf8_is_shown_as_replaced():
    assert one_line(ValueError("cannot read caf\udce9.png")) == "ValueError: cannot read caf\ufffd.png"
