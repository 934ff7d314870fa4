"""Copy the agent of every checkpoint to another folder, such as one on a network drive.

`rucksac.load(target)` gives the newest agent there. For a bucket, upload the folder of the checkpoint in place of
copying it. What it takes to resume elsewhere is the whole folder of the run: at this moment `aws s3 sync --delete RUN
BUCKET`, or `rsync -a --delete RUN TARGET`, finds it complete.
"""

import shutil
from pathlib import Path

import rucksac


def copying_to(target):
    """Return a callback that copies checkpoints to the folder `target`; it is called again if the drive was away."""

    def callback(event):
        if event.kind == "checkpoints":
            checkpoint = Path(event.rows[0]["path"])
            shutil.copytree(checkpoint, Path(target) / "checkpoints" / checkpoint.name, dirs_exist_ok=True)

    return callback


def main(target="backup", run="runs/copied", **settings):
    """Train with a copy of every checkpoint."""
    return rucksac.train("Pendulum-v1", run=run, callbacks=[copying_to(target)], **settings)


if __name__ == "__main__":
    main(quiet=False)
