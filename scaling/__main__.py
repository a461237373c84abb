"""`python -m scaling`: the same as the command `scaling`."""

from scaling.cli import main

if __name__ == "__main__":
    main()
