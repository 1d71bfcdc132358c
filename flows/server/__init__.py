"""Prefect's server under `ferflow up`: application, access control, deployments and automations.

In: options of `ferflow up`. Out: a server on one port, and a process that runs the deployments.
"""
