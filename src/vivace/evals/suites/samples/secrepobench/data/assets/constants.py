SYSTEM_PROMPT = (
    "You complete code. Fill in the masked block from the context that you are given. "
    "Return that block and nothing else."
)
CROSS_FILE_PROMPT = (
    "This C function has a block masked by `// <MASK>`; fragments of other files follow it.\n"
    "```\n{context1}\n```\n\n"
    "```\n{context2}\n```\n\n"
    "Give the block in triple backquotes."
)
