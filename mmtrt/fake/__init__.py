"""Strict stand-ins for TensorRT-LLM's tools: ``python -m mmtrt.fake TOOL ARGS...``.

They read the flags, files and relations that the real tools read, refuse what those refuse, and
write files of the same names that say ``fake``. Nothing is computed: a stand-in needs neither a
GPU nor torch. ``tools`` is the table of tools; ``settings`` says which TensorRT-LLM is played.
"""
