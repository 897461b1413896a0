# SPDX-License-Identifier: MIT
"""The exceptions of the package. Every message says what is wrong and the fix."""


class AionError(Exception):
    """Base of all errors that a user can mend.

    Args:
        problem: what is wrong, with the name of the file, column or field.
        fix: what to do about it, as an instruction.

    The command line prints `problem` and `fix` on one line and exits with code 2.
    """

    def __init__(self, problem: str, fix: str = "") -> None:
        self.problem = problem.rstrip(".")
        self.fix = fix
        super().__init__(f"{self.problem}. {fix}" if fix else self.problem)


class ConfigError(AionError):
    """A configuration names a key, value or file that does not exist or fit."""


class DataError(AionError):
    """Input data are missing, empty, truncated, or not what their names promise."""


class UnitError(DataError):
    """A quantity has a unit that cannot be converted to the modality's unit."""


class TokenSpaceError(AionError):
    """Two artefacts were made with token spaces that do not agree."""


class ArtefactError(AionError):
    """A bundle, shard set or checkpoint is absent, incomplete or of another format."""


class WorkdirError(AionError):
    """An output folder already holds something else, or cannot be written."""


class CroppedWarning(UserWarning):
    """Only the middle of images is taken, as large as a modality's tokens tell of."""
