import errno

from depthbench.errors import BadInput, of_system, one_line


def test_bad_input_is_its_message_and_any_other_error_names_its_class():
    assert one_line(BadInput("x.jpg cannot be read:\n remove it")) == "x.jpg cannot be read: remove it"
    assert one_line(SystemExit()) == "SystemExit"
    assert one_line(KeyError("x")) == "KeyError: 'x'"


def test_a_file_name_that_is_not_utf8_is_shown_as_replaced():
    assert one_line(ValueError("cannot read caf\udce9.png")) == "ValueError: cannot read caf\ufffd.png"


def test_an_error_of_the_system_says_what_to_do():
    assert of_system(OSError(errno.EROFS, "Read-only file system", "/a/b")) == (
        "/a/b: Read-only file system; use another folder"
    )
    assert of_system(OSError(errno.ENOSPC, "No space left on device", b"/a/caf\xe9")) == (
        "/a/caf\ufffd: No space left on device; free some space and rerun this command"
    )
    assert of_system(FileNotFoundError(errno.ENOENT, "No such file or directory", "c")) == (
        "c: No such file or directory"
    )
    assert of_system(OSError("s3://a cannot be read")) == "s3://a cannot be read"
