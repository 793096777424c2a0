"""What is done with finished datasets: check, look at, count, export, render again."""
