"""The kinds of stage a recipe may have."""

from vivace.recipe.runner import StageKind
from vivace.recipe.stages import base, evaluate, finetune, report, rl, tasks

KINDS: dict[str, StageKind] = {
    "corpus": StageKind(base.CorpusStage, base.corpus, lambda config: [config.corpus.manifest]),
    "pretrain": StageKind(base.PretrainStage, base.pretrain, together=True),
    "midtrain": StageKind(base.MidtrainStage, base.midtrain, lambda config: [config.init], together=True),
    "release": StageKind(base.ReleaseStage, base.release, lambda config: [config.init], lambda config: [config.to]),
    "sources": StageKind(tasks.SourcesStage, tasks.sources, lambda config: [config.manifest]),
    "tasks": StageKind(tasks.TasksStage, tasks.tasks, lambda config: [config.train, config.eval]),
    "finetune": StageKind(finetune.FinetuneStage, finetune.finetune, lambda config: [config.init]),
    "rl": StageKind(rl.RLStage, rl.rl, lambda config: [config.init]),
    "eval": StageKind(evaluate.EvalStage, evaluate.evaluate, lambda config: config.models),
    "report": StageKind(report.ReportStage, report.report, lambda config: [config.model]),
}
