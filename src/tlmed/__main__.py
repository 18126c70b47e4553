"""`python -m tlmed`."""

from tlmed.cli.app import main

if __name__ == "__main__":
    main()
