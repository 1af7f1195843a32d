"""A loss on pooled features, contrastive: what CRD (Tian et al. 2020) does, with its bank of negatives kept as a queue.

CRD pulls the student's embedding of an image towards the teacher's embedding of the same image and pushes it away
from those of other images. Three things differ from the paper, and why:

- InfoNCE (van den Oord et al. 2018) over the batch and a queue stands for NCE over 16,384 negatives drawn from a bank
  with one slot an image. A slot an image makes no sense where each view is augmented and mixed up.
- Negatives are images on which the teacher decides otherwise, not images of another label: so images without a label
  take part, and two views of one image are never pushed apart.
- Only the student is the anchor; the paper adds the same loss with the teacher as anchor.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHARPNESS = 1 / 0.07  # inverse temperature of the paper


class Contrast(nn.Module):
    """Two linear heads to unit vectors, trained with the student and then dropped, and a queue of negatives.

    Queue and counters are buffers: the training state keeps them, so that a resumed run sees the same negatives.

    Parameters
    ----------
    student_width, teacher_width : int
        Of the pooled features.
    classes : int
    memory : int
        Teacher embeddings of earlier batches that are kept; 0 for the batch alone.
    width : int
        Of the embeddings.
    """

    def __init__(self, student_width: int, teacher_width: int, classes: int, memory: int, width: int = 128) -> None:
        super().__init__()
        self.student_head = nn.Linear(student_width, width)
        self.teacher_head = nn.Linear(teacher_width, width)
        self.memory: Tensor
        self.decided: Tensor
        self.seen: Tensor
        self.register_buffer("memory", torch.zeros(memory, width))
        self.register_buffer("decided", torch.zeros(memory, classes, dtype=torch.bool))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, student: Tensor, teacher: Tensor, decisions: Tensor) -> Tensor:
        """Mean loss over the batch.

        Parameters
        ----------
        student, teacher : Tensor of shape (N, width of each)
            Pooled features of the same views.
        decisions : Tensor of shape (N, K), bool
            What the teacher decides; equal rows are no negatives of each other.
        """
        mine = F.normalize(self.student_head(student), dim=1)
        theirs = F.normalize(self.teacher_head(teacher), dim=1)
        keys = torch.cat([theirs, self.memory.to(theirs.dtype)])
        alike = (decisions[:, None] == torch.cat([decisions, self.decided])[None]).all(dim=2)
        itself = torch.arange(len(mine), device=keys.device)
        other = torch.arange(len(keys), device=keys.device)[None] != itself[:, None]  # itself: the one positive
        empty = torch.arange(len(self.memory), device=keys.device) >= self.seen
        unseen = torch.cat([empty.new_zeros(len(mine)), empty])[None]
        scores = (mine @ keys.T * SHARPNESS).masked_fill((alike & other) | unseen, -torch.inf)
        loss = F.cross_entropy(scores, itself)
        self._keep(theirs.detach(), decisions)
        return loss

    @torch.no_grad()
    def _keep(self, embeddings: Tensor, decisions: Tensor) -> None:
        """The oldest embeddings make room."""
        if not len(self.memory):
            return
        count = min(len(embeddings), len(self.memory))
        places = (torch.arange(count, device=embeddings.device) + self.seen) % len(self.memory)
        # In place, as a captured step needs it; the loss holds a copy of the old queue.
        self.memory.index_copy_(0, places, embeddings[:count].to(self.memory.dtype))
        self.decided.index_copy_(0, places, decisions[:count])
        self.seen += count
