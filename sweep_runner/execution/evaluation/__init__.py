"""Work on a trained model outside its trial: evaluated, combined, exported, measured."""
