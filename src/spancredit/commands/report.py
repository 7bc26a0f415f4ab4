"""`spancredit report`: one self-contained HTML page of a run or a study."""

from pathlib import Path

from spancredit.errors import RunFolderError
from spancredit.report.lines import is_place_for_a_file, write
from spancredit.report.runfolder import RunFolder
from spancredit.report.runpage import run_page
from spancredit.study.folder import StudyFolder
from spancredit.study.page import save_figures, study_page
from spancredit.study.results import compare


def report(folder: Path, out: Path | None) -> Path:
    """Write the page, by default `report.html` in the folder, and a study's pictures beside it.

    Raises:
        RunFolderError: if the folder holds neither a run nor a study, or the page has no folder to stand in.
    """
    if not folder.is_dir():
        raise RunFolderError(f"{folder} does not exist; expected the folder of a run or of a study.")
    path = out or folder / "report.html"
    if not is_place_for_a_file(path):
        raise RunFolderError(f"the page is {path}; expected a file in a folder that exists, and no folder.")
    if (folder / "study.yaml").is_file():
        study = StudyFolder.open(folder)
        comparisons = compare(study)
        save_figures(study, comparisons)
        write(path, study_page(study, comparisons))
    elif (folder / "run.json").is_file():
        write(path, run_page(RunFolder.reopen(folder)))
    else:
        raise RunFolderError(
            f"{folder} holds neither a run nor a study; expected a folder with run.json or study.yaml."
        )
    return path
