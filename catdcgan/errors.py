"""The errors that the command line reports in one line, without a traceback."""


class InputError(ValueError):
    """Some input cannot be used. The message names it, and says what was found and what to do."""


class CheckpointError(InputError):
    """A checkpoint cannot be used; the message says what was found and what was expected."""


class DamagedError(CheckpointError):
    """A checkpoint exists, but one of its files is missing or cannot be read."""


class DataError(InputError):
    """The images cannot be used; the message names the folder or file and the remedy."""


class RunError(InputError):
    """A run cannot start or continue because of its folder, its record or a worker; the message says why."""


class PrepareError(InputError):
    """The source or the output folder of `prepare` cannot be used; the message names it and the remedy."""


class TrainingError(InputError):
    """Training cannot continue; the message names the cause, and the last good checkpoint if there is one."""


class DownloadError(InputError):
    """The download failed; the message names the URL or file and the remedy."""
