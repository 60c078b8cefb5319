"""One file per kind of stage: a config and a function of (config, inputs) to files in the stage's folder."""
