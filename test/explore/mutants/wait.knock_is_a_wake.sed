# A knock ends the wait without a claim: a claimer may still be on its way.
s/(bits & THRUM__KNOCKED) \&\& must_cancel(self) \&\& give_up(wait, -ECANCELED)/bits \& THRUM__KNOCKED/
