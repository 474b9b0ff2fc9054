"""The guide's import path for the reconciler; it lives in `trueup.runtime.reconciler`."""

from __future__ import annotations

from trueup.runtime.reconciler import RemotePosition, StateReconciler, SyncResult, SyncStatus

__all__ = ["RemotePosition", "StateReconciler", "SyncResult", "SyncStatus"]
