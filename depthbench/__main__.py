"""The entry point of `python -m depthbench` and of the console script."""

import sys


def main() -> None:
    """Run the command line. Ctrl-C prints one line, also while the command line is being imported."""
    try:
        from depthbench.cli.app import main as run_command_line
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    run_command_line()


if __name__ == "__main__":
    main()
