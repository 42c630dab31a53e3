"""The golden case of knowledge distillation: python kd_golden.py REFERENCE OUT [NAME ...].

REFERENCE is a folder with the PyTorch reference of the golden cases (case.py, methods.py, wan.py, ...); this file adds the
method. The teacher walks in f64 for every sample; then a run like any other, written as a golden folder below OUT."""
import sys

sys.path.insert(0, sys.argv[1])

import numpy as np  # noqa: E402
import torch  # noqa: E402

import case  # noqa: E402
import cases  # noqa: E402
import draws as dr  # noqa: E402
import schedules as sch  # noqa: E402
from methods import Run, tensor  # noqa: E402


def points(n: int, shift: float) -> np.ndarray:
    """Table B of n points and a final 0: torch.linspace(1, 0, n + 1), shifted, the end left at 0. f32."""
    u = torch.linspace(1, 0, n + 1, dtype=torch.float32).numpy()
    return np.append(sch.shift_f32(shift, u[:-1]), np.float32(0))


class KD(Run):
    def walk(self):
        """[states][N,C,T,H,W]: the teacher's states nearest to t_list, then the clean clip, of all samples."""
        m, d = self.method, self.data_cfg
        n, shape = len(self.latents), (16, int(d["num_latent_t"]), int(d["num_height"]) // 8, int(d["num_width"]) // 8)
        sigma = points(int(m["teacher_inference_steps"]), float(self.pipeline["flow_shift"]))
        t = np.float32(1000) * sigma
        at = [int(np.abs(t[:-1] - np.float32(e)).argmin()) for e in m["t_list"][:-1]] + [len(sigma) - 1]
        noise = [dr.normal(self.draws.seed, "kd/noise", 0, 0, i, int(np.prod(shape))).astype(np.float32).reshape(shape) for i in range(n)]
        x, g = tensor(np.stack(noise), self.dtype), float(m["teacher_guidance_scale"])
        text = tensor(self.texts, self.dtype)
        negative = tensor(self.negative, self.dtype).expand(n, -1, -1)
        self.level, self.time, self.states = sigma[at], t[at], []
        with torch.no_grad():
            for i in range(len(sigma)):
                if i in at:
                    self.states.append(x.clone())
                if i + 1 == len(sigma):
                    break
                level = np.full(n, t[i])
                c, u = self.flow("teacher", x, level, text), self.flow("teacher", x, level, negative)
                x = x + float(sigma[i + 1] - sigma[i]) * (u + g * (c - u))

    def sft(self, step, a):
        """In the place of supervised fine-tuning: regress the clean clip from a drawn state, L = 1/2 mean (x0 - clean)^2."""
        batch = self.prepare(step, a, "zeros")
        index = self.draws.used[f"data/sample:{step}:{a}"].astype(np.int64)
        frames, k_n = batch["shape"][1], len(self.states) - 1
        block = self.student.config["num_frames_per_block"] if self.causal["student"] else frames
        k = self.draws.get("kd/index", step, a, (-(-frames // block),), "integer", k_n)
        k = np.repeat(k, block, axis=1)[:, :frames]                                   # [B,T]
        stack = torch.stack([s[torch.from_numpy(index)] for s in self.states])        # [states,B,C,T,H,W]
        b, f = np.arange(len(index))[:, None], np.arange(frames)[None, :]
        noisy = stack[torch.from_numpy(k), torch.from_numpy(b), :, torch.from_numpy(f)].permute(0, 2, 1, 3, 4).contiguous()
        clean = stack[-1]
        level, t = (self.level[k], self.time[k]) if self.causal["student"] else (self.level[k[:, 0]], self.time[k[:, 0]])
        v = self.flow("student", noisy, t, batch["text"])
        for name, x in (("noisy", noisy), ("clean", clean), ("pred", v)):
            self.note(name, step, a, x)
        loss = 0.5 * (sch.to_x0(noisy, v, level) - clean).square().mean()
        return {"total_loss": loss, "kd_loss": loss}, {"student": loss}

    def run(self):
        self.walk()
        self.method = {**self.method, "_target_": "kd.FineTuneMethod"}                # the loop's name of `sft`
        return super().run()


def kd(name, **kw):
    return {"_target_": "fastvideo.train.methods.knowledge_distillation.kd." + name, "teacher_path_cache": "trajectories", **kw}


def known():
    two = ("student", "teacher")
    c = {"kd": cases.case(
        "KD, bidirectional student: the guided teacher's walk of 6 steps, 3 of its states and the clean clip, one state per sample; two "
        "accumulation rounds, text dropout, active clipping.", cases.arch(2, 2, 12, 48, text_len=24),
        cases.config(kd("KDMethod", t_list=[999, 900, 500, 0], teacher_inference_steps=6, teacher_guidance_scale=3.0), (3, 4, 6), 2, 31,
                     roles=two, rounds=2, steps=8, rate=0.2, callbacks={"grad_clip": {"max_grad_norm": 0.5}}, shift=5.0), 41)}
    c["kd-causal"] = cases.case(
        "KD, causal student: one state per block of 2 frames, 5 frames (the last block is short), 4 steps without guidance.",
        cases.arch(2, 2, 12, 48, text_len=24, num_frames_per_block=2),
        cases.config(kd("KDCausalMethod", t_list=[1000, 937, 625, 0], teacher_inference_steps=4, teacher_guidance_scale=1.0,
                        num_frames_per_block=2), (5, 4, 6), 2, 32, causal=True, roles=two, steps=8, shift=5.0), 42)
    return c


case.Run = KD
for wanted in sys.argv[3:] or known():
    case.make(sys.argv[2] + "/" + wanted, known()[wanted])
