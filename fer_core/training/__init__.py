"""Face sets -> a trained model.

In: face sets and a `TrainConfig`. Out: weights, card, history and checkpoints. Next: `promotion_gate` compares the model with the
champion.
"""
