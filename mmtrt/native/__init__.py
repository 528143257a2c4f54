"""The stages of the native toolchain, one process each: ``python -m mmtrt.native.<stage> FLAGS``.

Imported by nothing above: the executor starts these modules as processes, because they need torch,
transformers or onnxruntime, which the rest of ``mmtrt`` must not load. The stages are ``convert``,
``quantize``, ``build_llm``, ``build_vision`` and ``run``; ``docs/native_engines.md`` says what each
one reads and writes.
"""
