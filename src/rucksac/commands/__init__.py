"""What the command line can do, in the order in which it is listed. A command is named here and nowhere else.

Importing this package needs no torch; what a command needs is imported when it runs.
"""

from rucksac.commands.comparing import Compare, Runs
from rucksac.commands.completion import Completion
from rucksac.commands.diagnosing import Diagnose
from rucksac.commands.doctor import Doctor
from rucksac.commands.export import Export
from rucksac.commands.importing import Import
from rucksac.commands.looking import Cache, Evaluate, Info, Plot, Recipes, Watch
from rucksac.commands.parsing import Command
from rucksac.commands.replay import Replay
from rucksac.commands.reporting import Dashboard, Report
from rucksac.commands.reproducing import ShowConfig
from rucksac.commands.sweeping import Sweep
from rucksac.commands.training import Resume, Train
from rucksac.commands.tuning import Tune

COMMANDS: dict[str, type[Command]] = {
    "train": Train,
    "resume": Resume,
    "sweep": Sweep,
    "tune": Tune,
    "runs": Runs,
    "info": Info,
    "config": ShowConfig,
    "evaluate": Evaluate,
    "diagnose": Diagnose,
    "plot": Plot,
    "report": Report,
    "dashboard": Dashboard,
    "compare": Compare,
    "watch": Watch,
    "export": Export,
    "import": Import,
    "replay": Replay,
    "recipes": Recipes,
    "doctor": Doctor,
    "cache": Cache,
    "completion": Completion,
}
