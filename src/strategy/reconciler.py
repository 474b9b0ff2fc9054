"""The guide's import path for the reconciler; it lives in `trueup.runtime.sync.reconciler`."""

from __future__ import annotations

from trueup.runtime.sync.reconciler import RemotePosition, StateReconciler, SyncResult, SyncStatus

__all__ = ["RemotePosition", "StateReconciler", "SyncResult", "SyncStatus"]
