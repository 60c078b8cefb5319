"""Graders: from the text of an answer to a verdict. Pure functions, except where a worker or sandbox is needed."""
