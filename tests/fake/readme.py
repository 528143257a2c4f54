"""The README's own commands, one scenario for each section, with its defects repaired.

`$M` is the checkpoint's name; paths are those of the README, relative to its directory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
ONEVISION = [[384 * a, 384 * b] for a in range(1, 7) for b in range(1, 7)]
LLAVA = {
    "image_size": [336, 336],
    "patch_size": 14,
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "vocab_size": 32064,
    "max_position_embeddings": 4096,
}


def _facts(heads: int, hidden: int, **more: Any) -> dict[str, Any]:
    """Facts of which the tools read little: every number is plausible, few are real."""
    return LLAVA | {
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "hidden_size": hidden,
        "max_position_embeddings": 32768,
        **more,
    }


CROSS = {"image_size": [448, 448], "max_tiles": 4, "num_key_value_heads": 8, "dtype": "bfloat16"}
BF16 = {"dtype": "bfloat16"}


@dataclass
class Scenario:
    """One section: what is downloaded and what is run."""

    family: str
    repo: str
    facts: dict[str, Any]
    commands: str
    name: str = ""
    setup: list[tuple[str, ...]] = field(default_factory=list)
    """Further calls of our own tools; `nemo` and `png` write a file."""
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """The checkpoint's directory name."""
        return self.name or self.repo.rsplit("/", 1)[-1]

    def lines(self) -> list[str]:
        """Return the commands, one a line."""
        text = self.commands.replace("$M", self.model).replace("\\\n", " ")
        return [line.strip() for line in text.splitlines() if line.strip()]


HF, CK, EN = "tmp/hf_models/$M", "tmp/trt_models/$M", "tmp/trt_engines/$M"
ENC_DEC = (
    "--paged_kv_cache disable --moe_plugin disable --gemm_plugin {t} --bert_attention_plugin {t} "
    "--gpt_attention_plugin {t} --remove_input_padding enable --max_beam_width 1 "
)
BF, FP = ENC_DEC.format(t="bfloat16"), ENC_DEC.format(t="float16")


def _vision(kind: str, where: str, more: str = "") -> str:
    return (
        f"python build_multimodal_engine.py --model_type {kind} --model_path {HF} "
        f"--output_dir {EN}/{where}/vision {more}"
    )


def _run(where: str, more: str = "") -> str:
    return f"python run.py --hf_model_dir {HF} --engine_dir {EN}/{where} {more}"


ONE = "fp16/1-gpu"
LLAMA = f"""
python ../llama/convert_checkpoint.py --model_dir {HF} --output_dir {CK}/{ONE} --dtype float16
trtllm-build --checkpoint_dir {CK}/{ONE} --output_dir {EN}/{ONE}/llm --gemm_plugin float16 \\
    --use_fused_mlp=enable --max_batch_size 1 --max_input_len 2048 --max_seq_len 2560 \\
    --max_multimodal_len """

RUN_PAIRS = _run(
    ONE,
    """--max_new_tokens 30 --image_path https://example.org/av.png image.png \\
    --input_text '\\n Please elaborate what you see' '\\n Which city is this?' --batch_size=2""",
)
RUN_PICTURE = _run(
    ONE,
    """--max_new_tokens 30 --input_text 'What is shown in this image?' \\
    --image_path image.png""",
)
RUN_VIDEO = _run(
    ONE,
    """--max_new_tokens 30 --input_text 'Why is this video funny?' \\
    --video_path video.mp4 --video_num_frames 8""",
)
RUN_TWO = _run(
    ONE,
    """--max_new_tokens 30 --image_path image.png https://example.org/merlion.png \\
    --input_text='<image>\\n<image>\\n Please elaborate what you see' --batch_size=1""",
)
RUN_URL = _run(
    ONE + "/",
    "--kv_cache_free_gpu_memory_fraction 0.7 --image_path=https://example.org/m.png",
)
RUN_CITY = _run(ONE, "--max_new_tokens 30 --input_text '\\n Which city is this?'")

SCENARIOS = {
    "blip2_opt": Scenario(
        "blip2",
        "Salesforce/blip2-opt-2.7b",
        _facts(32, 2560, image_tokens=32),
        f"""
python ../../contrib/opt/convert_checkpoint.py --model_type blip2 --model_dir {HF} \\
    --output_dir {CK}/{ONE} --dtype float16
trtllm-build --checkpoint_dir {CK}/{ONE} --output_dir {EN}/{ONE}/llm --gemm_plugin float16 \\
    --max_beam_width 1 --max_batch_size 8 --max_seq_len 1024 --max_input_len 924 \\
    --max_multimodal_len 256
{_vision("blip2", ONE, "--max_batch_size 8")}
{_run(ONE, "--max_new_tokens 30 --input_text 'Question: which city is this? Answer:'")}
""",
    ),
    "blip2_t5": Scenario(
        "blip2",
        "Salesforce/blip2-flan-t5-xl",
        _facts(32, 2048, image_tokens=32, **BF16),
        f"""
python ../enc_dec/convert_checkpoint.py --model_type blip2 --model_dir {HF} \\
    --output_dir {CK}/bfloat16 --tp_size 1 --pp_size 1 --dtype bfloat16
trtllm-build --checkpoint_dir {CK}/bfloat16/encoder --output_dir {EN}/bfloat16/llm/encoder \\
    {BF} --context_fmha disable --max_batch_size 8 --max_input_len 924 --max_multimodal_len 256
trtllm-build --checkpoint_dir {CK}/bfloat16/decoder --output_dir {EN}/bfloat16/llm/decoder \\
    {BF} --context_fmha disable --max_batch_size 8 --max_seq_len 1024 \\
    --max_encoder_input_len 924 --max_input_len 1
{_vision("blip2", "bfloat16", "--max_batch_size 8")}
{_run("bfloat16", "--max_new_tokens 30 --input_text 'Question: which city is this? Answer:'")}
""",
    ),
    "cogvlm": Scenario(
        "cogvlm",
        "THUDM/cogvlm-chat-hf",
        _facts(32, 4096, image_size=[490, 490], image_tokens=1227, **BF16),
        f"""
sed
python ../../contrib/cogvlm/convert_checkpoint.py --model_dir {HF} --output_dir {CK} \\
    --dtype bfloat16 --use_prompt_tuning
trtllm-build --checkpoint_dir {CK} --output_dir {EN}/bf16/1-gpu/llm --gemm_plugin bfloat16 \\
    --gpt_attention_plugin bfloat16 --remove_input_padding enable --max_batch_size 48 \\
    --max_input_len 2048 --max_seq_len 3076 --paged_kv_cache enable \\
    --bert_attention_plugin disable --moe_plugin disable --max_multimodal_len 61440
{_vision("cogvlm", "bf16/1-gpu", "--max_batch_size 48")}
python run.py --max_new_tokens 1000 --hf_model_dir tmp/hf_models/vicuna-7b-v1.5 \\
    --input_text ' [INST] please describe this image in detail [/INST] ' \\
    --engine_dir {EN}/bf16/1-gpu --batch_size 1 --top_p 0.4 --top_k 1 --temperature 0.2 \\
    --repetition_penalty 1.2 --enable_context_fmha_fp32_acc
""",
        setup=[("download", "lmsys/vicuna-7b-v1.5")],
    ),
    "deplot": Scenario(
        "deplot",
        "google/deplot",
        _facts(12, 768, max_patches=2048),
        f"""
python ../enc_dec/convert_checkpoint.py --model_type pix2struct --model_dir {HF} \\
    --output_dir {CK}/float16 --tp_size 1 --pp_size 1 --dtype float16
trtllm-build --checkpoint_dir {CK}/float16/decoder --output_dir {EN}/1-gpu/float16/llm/decoder \\
    {FP} --context_fmha disable --max_batch_size 8 --max_seq_len 2558 \\
    --max_encoder_input_len 2048 --max_input_len 1
{_vision("pix2struct", "1-gpu/float16", "--max_batch_size 8")}
{_run("1-gpu/float16", "--max_new_tokens 100 --input_text ''")}
""",
    ),
    "fuyu": Scenario(
        "fuyu",
        "adept/fuyu-8b",
        _facts(64, 4096, image_size=[1080, 1920], patch_size=30),
        f"""
python ../gpt/convert_checkpoint.py --model_dir {HF} --output_dir {CK}/{ONE} --dtype float16 \\
    --gpt_variant persimmon
trtllm-build --checkpoint_dir {CK}/{ONE} --output_dir {EN}/{ONE}/llm --gemm_plugin float16 \\
    --use_fused_mlp=enable --max_batch_size 1 --max_input_len 2048 --max_seq_len 2560 \\
    --max_multimodal_len 2048
{_vision("fuyu", ONE)}
{_run(ONE)}
""",
    ),
    "gemma3": Scenario(
        "gemma3",
        "google/gemma-3-27b-it",
        _facts(32, 5376, image_tokens=256, num_key_value_heads=16, **BF16),
        f"""
python3 ../../../llm-api/quickstart_multimodal.py --model_dir {HF}/ --modality image \\
    --image_format pil --attention_backend FLASHINFER --disable_kv_cache_reuse
""",
    ),
    "internlm_xcomposer2": Scenario(
        "internlm_xcomposer2",
        "internlm/internlm-xcomposer2-vl-7b",
        _facts(32, 4096, image_size=[490, 490]),
        f"""
python ../internlm2/convert_checkpoint.py --model_dir {HF} --dtype float16 \\
    --output_dir {CK}/{ONE}
trtllm-build --checkpoint_dir {CK}/{ONE} --output_dir {EN}/{ONE}/llm --gemm_plugin float16 \\
    --lora_plugin float16 --lora_dir . --max_lora_rank 256 --max_input_len 1536 \\
    --max_batch_size 48 --max_multimodal_len 58800
{_vision("internlm-xcomposer2", ONE, "--max_batch_size 48")}
{_run(ONE, "--max_new_tokens 200 --batch_size 1")}
""",
    ),
    **{
        f"internvl2_{size.lower()}": Scenario(
            "internvl2",
            f"OpenGVLab/InternVL2-{size}",
            _facts(16, 2048, image_size=[448, 448], image_tokens=256, max_tiles=12),
            f"""
python ../{script}/convert_checkpoint.py --model_dir {HF} --output_dir {CK}/{ONE} --dtype float16
trtllm-build --checkpoint_dir {CK}/{ONE} --output_dir {EN}/{ONE}/llm --gemm_plugin auto \\
    --max_batch_size 1 --max_input_len 4096 --max_seq_len 4608 --max_multimodal_len 3328
{_vision("internvl", ONE)}
{_run(ONE)}
""",
        )
        for size, script in (("1B", "qwen"), ("2B", "internlm2"), ("4B", "phi"))
    },
    "internvl2_fp8": Scenario(
        "internvl2",
        "OpenGVLab/InternVL2-4B",
        _facts(32, 3072, image_size=[448, 448], image_tokens=256, max_tiles=12, **BF16),
        f"""
python ../../../quantization/quantize.py --model_dir {HF} --output_dir {CK}/fp8/1-gpu \\
    --dtype bfloat16 --qformat fp8 --kv_cache_dtype fp8
trtllm-build --checkpoint_dir {CK}/fp8/1-gpu --output_dir {EN}/fp8/1-gpu/llm --gemm_plugin auto \\
    --max_batch_size 1 --max_input_len 4096 --max_seq_len 4608 --max_multimodal_len 3328
{_vision("internvl", "fp8/1-gpu")}
{_run("fp8/1-gpu")}
""",
    ),
    "kosmos2": Scenario(
        "kosmos2",
        "microsoft/kosmos-2-patch14-224",
        _facts(32, 2048, image_tokens=64),
        f"""
python ../gpt/convert_checkpoint.py --model_dir {HF} --output_dir {CK}/{ONE} --dtype float16 \\
    --gpt_variant kosmos-2
trtllm-build --checkpoint_dir {CK}/{ONE} --output_dir {EN}/{ONE}/llm \\
    --gpt_attention_plugin float16 --gemm_plugin float16 --max_batch_size 1 --max_input_len 512 \\
    --max_seq_len 1024 --max_multimodal_len 64
{_vision("kosmos-2", ONE)}
{_run(ONE)}
""",
        name="kosmos-2",
    ),
    "llava": Scenario(
        "llava",
        "llava-hf/llava-1.5-7b-hf",
        LLAVA,
        f"""
{LLAMA} 576
{_vision("llava", ONE)}
{RUN_CITY}
""",
    ),
    "llava_int4_wo": Scenario(
        "llava",
        "llava-hf/llava-1.5-7b-hf",
        LLAVA,
        f"""
python ../llama/convert_checkpoint.py --model_dir {HF} --dtype float16 \\
    --output_dir {CK}/int4_weightonly/1-gpu --use_weight_only --weight_only_precision int4
trtllm-build --checkpoint_dir {CK}/int4_weightonly/1-gpu --output_dir {EN}/int4/1-gpu/llm \\
    --gemm_plugin float16 --max_batch_size 1 --max_input_len 2048 --max_seq_len 2560 \\
    --max_multimodal_len 576
{_vision("llava", "int4/1-gpu")}
{_run("int4/1-gpu", "--max_new_tokens 30")}
""",
    ),
    "llava_int4_awq": Scenario(
        "llava",
        "llava-hf/llava-1.5-7b-hf",
        LLAVA,
        f"""
python ../../../quantization/quantize.py --model_dir {HF} --output_dir {CK}/int4_awq/1-gpu \\
    --dtype float16 --qformat int4_awq --calib_size 32
trtllm-build --checkpoint_dir {CK}/int4_awq/1-gpu --output_dir {EN}/awq/1-gpu/llm \\
    --gemm_plugin float16 --max_batch_size 1 --max_input_len 2048 --max_seq_len 2560 \\
    --max_multimodal_len 576
{_vision("llava", "awq/1-gpu")}
{_run("awq/1-gpu", "--max_new_tokens 30")}
""",
    ),
    "llava_batch": Scenario(
        "llava",
        "llava-hf/llava-1.5-7b-hf",
        LLAVA,
        f"""
{LLAMA} 1152 --max_batch_size 2
{_vision("llava", ONE)}
{RUN_PAIRS}
""",
        setup=[("png", "image.png")],
    ),
    "llava_next": Scenario(
        "llava_next",
        "llava-hf/llava-v1.6-mistral-7b-hf",
        LLAVA | {"image_grid_pinpoints": PINPOINTS, "max_position_embeddings": 32768},
        f"""
python ../llama/convert_checkpoint.py --model_dir {HF} --output_dir {CK}/{ONE} --dtype float16
trtllm-build --checkpoint_dir {CK}/{ONE} --output_dir {EN}/{ONE}/llm \\
    --gpt_attention_plugin float16 --gemm_plugin float16 --use_fused_mlp=enable \\
    --max_batch_size 1 --max_input_len 4096 --max_seq_len 5120 --max_num_tokens 4096 \\
    --max_multimodal_len 4096
{_vision("llava_next", ONE, "--max_batch_size 5")}
{RUN_CITY}
""",
    ),
    "llava_onevision": Scenario(
        "llava_onevision",
        "llava-hf/llava-onevision-qwen2-7b-ov-hf",
        _facts(
            28,
            3584,
            image_size=[384, 384],
            image_grid_pinpoints=ONEVISION,
            max_tiles=9,
            num_key_value_heads=4,
        ),
        f"""
python ../qwen/convert_checkpoint.py --model_dir {HF} --output_dir {CK}/{ONE} --dtype float16
trtllm-build --checkpoint_dir {CK}/{ONE} --output_dir {EN}/{ONE}/llm --gemm_plugin float16 \\
    --use_fused_mlp=enable --max_batch_size 1 --max_input_len 7228 --max_seq_len 7328 \\
    --max_multimodal_len 7128
{_vision("llava_onevision", ONE, "--max_batch_size 32")}
{RUN_PICTURE}
{RUN_VIDEO}
""",
        setup=[("png", "image.png"), ("file", "video.mp4")],
    ),
    "vila": Scenario(
        "vila",
        "Efficient-Large-Model/vila1.5-3b",
        _facts(20, 2560, image_tokens=196),
        f"""
{LLAMA} 392
{_vision("vila", ONE, "--vila_path tmp/hf_models/VILA")}
{RUN_TWO}
""",
        setup=[
            ("clone", "https://github.com/Efficient-Large-Model/VILA.git", "tmp/hf_models/VILA"),
            ("png", "image.png"),
        ],
    ),
    "mllama": Scenario(
        "mllama",
        "meta-llama/Llama-3.2-11B-Vision",
        _facts(32, 4096, **CROSS),
        f"""
python build_multimodal_engine.py --model_type mllama --model_path {HF} --output_dir {EN}/vision/
python ../mllama/convert_checkpoint.py --model_dir {HF} --output_dir {CK} --dtype bfloat16
trtllm-build --checkpoint_dir {CK} --output_dir {EN}/llm/ --max_num_tokens 4096 \\
    --max_seq_len 2048 --workers 1 --gemm_plugin auto --max_batch_size 4 \\
    --max_encoder_input_len 4100 --input_timing_cache model.cache
python3 run.py --engine_dir {EN}/ --hf_model_dir {HF} --image_path https://example.org/rabbit.jpg \\
    --input_text '<|image|><|begin_of_text|>If I had to write a haiku for this one' \\
    --max_new_tokens 50 --batch_size 2
python3 eval.py --model_type mllama --engine_dir {EN}/ --hf_model_dir {HF} --test_trtllm \\
    --accuracy_threshold 65 --eval_task lmms-lab/ai2d
""",
        settings={"accuracy": 70},
    ),
    "mllama_fp8": Scenario(
        "mllama",
        "meta-llama/Llama-3.2-11B-Vision",
        _facts(32, 4096, **CROSS),
        f"""
python build_multimodal_engine.py --model_type mllama --model_path {HF} --output_dir {EN}/vision/
python ../../../quantization/quantize.py --model_dir {HF} --dtype bfloat16 --qformat fp8 \\
    --output_dir {CK} --kv_cache_dtype fp8 --calib_size 512 --calib_dataset scienceqa
trtllm-build --checkpoint_dir {CK} --output_dir {EN}/llm --max_num_tokens 4096 \\
    --max_seq_len 2048 --workers 1 --gemm_plugin auto --max_batch_size 4 \\
    --max_encoder_input_len 4100 --input_timing_cache model.cache \\
    --use_paged_context_fmha enable --use_fp8_context_fmha enable
python3 run.py --engine_dir {EN}/ --hf_model_dir {HF} --image_path https://example.org/rabbit.jpg \\
    --input_text '<|image|><|begin_of_text|>If I had to write a haiku for this one' \\
    --max_new_tokens 50 --batch_size 2
""",
    ),
    "neva": Scenario(
        "neva",
        "nvidia/neva",
        _facts(32, 4096, image_tokens=729, **BF16),
        f"""
python ../gpt/convert_checkpoint.py --nemo_ckpt_path ./$M.nemo --dtype bfloat16 \\
    --output_dir {CK} --nemo_rename_key model:model.language_model \\
    attention.linear_qkv.layer_norm_bias:input_layernorm.bias linear_qkv:query_key_value \\
    linear_fc1:dense_h_to_4h linear_fc2:dense_4h_to_h linear_proj:dense decoder:encoder
trtllm-build --checkpoint_dir {CK} --output_dir {EN}/bf16/1-gpu/llm \\
    --gpt_attention_plugin bfloat16 --gemm_plugin bfloat16 --max_batch_size 1 \\
    --max_input_len 2048 --max_seq_len 2560 --max_multimodal_len 729
python build_multimodal_engine.py --model_path ./$M.nemo --model_type neva \\
    --output_dir {EN}/bf16/1-gpu/vision
python run.py --max_new_tokens 30 --hf_model_dir {CK} --engine_dir {EN}/bf16/1-gpu \\
    --input_text 'Question: which city is this? Answer:'
""",
        setup=[("nemo", "neva.nemo")],
    ),
    "nougat": Scenario(
        "nougat",
        "facebook/nougat-base",
        _facts(16, 1024, image_size=[896, 672], patch_size=4),
        f"""
python ../enc_dec/convert_checkpoint.py --model_type bart --model_dir {HF} \\
    --output_dir {CK}/bfloat16 --tp_size 1 --pp_size 1 --dtype bfloat16 --nougat
trtllm-build --checkpoint_dir {CK}/bfloat16/decoder \\
    --output_dir {EN}/1-gpu/bfloat16/llm/decoder {BF} --max_batch_size 1 --max_seq_len 101 \\
    --max_input_len 1 --max_encoder_input_len 588
{_vision("nougat", "1-gpu/bfloat16")}
{_run("1-gpu/bfloat16", "--max_new_tokens 100")}
""",
    ),
    "phi3_vision": Scenario(
        "phi3_vision",
        "microsoft/Phi-3-vision-128k-instruct",
        _facts(32, 3072, max_tiles=16),
        f"""
python ../phi/convert_checkpoint.py --model_dir {HF} --output_dir {CK}/{ONE} --dtype float16
trtllm-build --checkpoint_dir {CK}/{ONE} --output_dir {EN}/{ONE}/llm \\
    --gpt_attention_plugin float16 --gemm_plugin float16 --max_batch_size 1 \\
    --max_input_len 4096 --max_seq_len 4608 --max_multimodal_len 4096
{_vision("phi-3-vision", ONE)}
{RUN_URL}
""",
    ),
    "phi4_multimodal": Scenario(
        "phi4_multimodal",
        "microsoft/Phi-4-multimodal-instruct",
        _facts(24, 3072, image_size=[448, 448], max_tiles=36, num_key_value_heads=8),
        f"""
python ../phi/convert_checkpoint.py --model_dir {HF} --output_dir {CK} --dtype float16
trtllm-build --checkpoint_dir {CK} --output_dir {EN}/llm --gpt_attention_plugin float16 \\
    --gemm_plugin float16 --max_batch_size 1 --max_input_len 4096 --max_seq_len 4608 \\
    --max_multimodal_len 4096
python build_multimodal_engine.py --model_type phi-4-multimodal --model_path {HF} \\
    --output_dir {EN}
python run.py --hf_model_dir {HF} --kv_cache_free_gpu_memory_fraction 0.7 --engine_dir {EN} \\
    --image_path=https://example.org/merlion.png \\
    --audio_path={HF}/examples/what_is_shown_in_this_image.wav
""",
    ),
    "qwen2_vl": Scenario(
        "qwen2_vl",
        "Qwen/Qwen2-VL-7B-Instruct",
        _facts(
            28, 3584, image_size=[504, 504], spatial_merge_size=2, num_key_value_heads=4, **BF16
        ),
        f"""
python3 ../qwen/convert_checkpoint.py --model_dir={HF} --output_dir={CK}/{ONE} --dtype float16
trtllm-build --checkpoint_dir {CK}/{ONE} --output_dir {EN}/{ONE}/llm --gemm_plugin=float16 \\
    --gpt_attention_plugin=float16 --max_batch_size=4 --max_input_len=2048 --max_seq_len=3072 \\
    --max_multimodal_len=1296
{_vision("qwen2_vl", ONE)}
{_run(ONE + "/")}
""",
    ),
    "qwen2_vl_fp8": Scenario(
        "qwen2_vl",
        "Qwen/Qwen2-VL-7B-Instruct",
        _facts(
            28, 3584, image_size=[504, 504], spatial_merge_size=2, num_key_value_heads=4, **BF16
        ),
        f"""
python ../../../quantization/quantize.py --model_dir {HF} --dtype float16 --qformat fp8 \\
    --kv_cache_dtype fp8 --output_dir {CK}/fp8/1-gpu --calib_size 512
trtllm-build --checkpoint_dir {CK}/fp8/1-gpu --output_dir {EN}/fp8/1-gpu/llm \\
    --max_input_len=2048 --max_seq_len 3072 --gemm_plugin auto --max_batch_size 4 \\
    --max_multimodal_len=1296
{_vision("qwen2_vl", "fp8/1-gpu")}
{_run("fp8/1-gpu/")}
""",
    ),
    "video_neva": Scenario(
        "video_neva",
        "nvidia/nemotron",
        _facts(32, 4096, num_frames=12, image_size=[224, 224], patch_size=14, **BF16),
        """
python3 ../../../quantization/quantize.py --nemo_ckpt_path model.nemo --dtype bfloat16 \\
    --batch_size 64 --qformat full_prec --output_dir nemotron-3/trt_ckpt/bf16/1-gpu
trtllm-build --checkpoint_dir nemotron-3/trt_ckpt/bf16/1-gpu \\
    --output_dir tmp/trt_engines/nemotron-3/bf16/1-gpu/llm --gpt_attention_plugin bfloat16 \\
    --gemm_plugin bfloat16 --max_batch_size 1 --max_input_len 4096 --max_seq_len 4352 \\
    --max_multimodal_len 3072
python build_multimodal_engine.py --model_path projector.nemo --model_type video-neva \\
    --output_dir tmp/trt_engines/nemotron-3/visual_encoder \\
    --output_dir tmp/trt_engines/nemotron-3/bf16/1-gpu/vision
python run.py --max_new_tokens 30 --hf_model_dir nemotron-3/trt_ckpt/bf16/1-gpu \\
    --engine_dir tmp/trt_engines/nemotron-3/bf16/1-gpu \\
    --input_text 'Question: what is in the video? Answer:' --video_path video.mp4
""",
        setup=[("nemo", "model.nemo"), ("nemo", "projector.nemo"), ("file", "video.mp4")],
    ),
}
