"""Make datasets out of datasets: a verb gives plans, `plan.write` carries them out, killed or not."""
