"""The kinds of stage a recipe may have."""

from vivace.recipe.runner import StageKind
from vivace.recipe.stages import base, evaluate, finetune, report, rl, tasks

KINDS: dict[str, StageKind] = {
    "corpus": StageKind(base.CorpusStage, base.corpus),
    "pretrain": StageKind(base.PretrainStage, base.pretrain),
    "midtrain": StageKind(base.MidtrainStage, base.midtrain),
    "release": StageKind(base.ReleaseStage, base.release),
    "sources": StageKind(tasks.SourcesStage, tasks.sources),
    "tasks": StageKind(tasks.TasksStage, tasks.tasks),
    "finetune": StageKind(finetune.FinetuneStage, finetune.finetune),
    "rl": StageKind(rl.RLStage, rl.rl),
    "eval": StageKind(evaluate.EvalStage, evaluate.evaluate),
    "report": StageKind(report.ReportStage, report.report),
}
