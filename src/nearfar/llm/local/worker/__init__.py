"""The process that holds the model. Started by ``nearfar.llm.local.process``, never imported by it."""
