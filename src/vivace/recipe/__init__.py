"""Recipes: one TOML file per journey, run stage by stage into one resumable directory."""
