# What was taken is still there.
s/queue->head = last->link;/;/
