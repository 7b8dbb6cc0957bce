# A knock is not answered.
s/if ((bits & THRUM__KNOCKED).*/if (0)/
