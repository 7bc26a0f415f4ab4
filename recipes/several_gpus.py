"""A recipe in several processes, one a GPU: what `spancredit train` refuses as yet, by the trainer itself.

    accelerate launch --num_processes 4 recipes/several_gpus.py --config recipes/qwen2.5-1.5b.yaml \\
        --gradient_accumulation_steps 2 --output_dir runs/four

Every process holds the whole policy (DDP; credit refuses sharded weights). There is no held-out accuracy on the way and
no record of rollouts: metrics are TRL's log, --resume_from_checkpoint continues a checkpoint, and the trained policy is
in OUTPUT_DIR/model.
"""

import sys
from pathlib import Path

from datasets import Dataset
from trl import get_peft_config

from spancredit.commands.train import init_arguments, rewards
from spancredit.commands.train_arguments import parse, read_request
from spancredit.models import load_policy
from spancredit.tasks.task import load_task
from spancredit.training.trl import CreditGRPOTrainer


def main() -> None:
    request = read_request(sys.argv[1:])
    asked, arguments, model = parse(request.config, request.flags)
    folder = request.output_dir or Path("runs/several-gpus")
    arguments.output_dir = str(folder)
    policy, tokenizer = load_policy(str(model.model_name_or_path), trainable=True, **init_arguments(model, arguments))
    task = load_task(asked, arguments.seed, tokenizer)
    trainer = CreditGRPOTrainer(
        policy,
        rewards(task.reward, asked.overlong_cache, arguments),
        arguments,
        train_dataset=Dataset.from_list(task.rows("train")),
        processing_class=tokenizer,
        peft_config=get_peft_config(model),
    )
    trainer.train(resume_from_checkpoint=arguments.resume_from_checkpoint)
    trainer.save_model(str(folder / "model"))


if __name__ == "__main__":
    main()
