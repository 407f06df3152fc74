#include "train/score.h"

#include <math.h>

size_t crn__rank(const float *logits, size_t classes, size_t label)
{
    if (label >= classes || isnan(logits[label]))
        return classes;
    size_t rank = 0;
    for (size_t i = 0; i < classes; i++)
        rank += logits[i] > logits[label] || (logits[i] == logits[label] && i < label);
    return rank;
}

size_t crn__best(const float *logits, size_t classes)
{
    size_t best = 0;
    for (size_t i = 1; i < classes; i++)
        best = logits[i] > logits[best] ? i : best;
    return best;
}

double crn__cross_entropy(const float *logits, size_t classes, size_t label)
{
    if (label >= classes)
        return NAN;
    double largest = logits[0], sum = 0;
    for (size_t i = 1; i < classes; i++)
        largest = logits[i] > largest ? logits[i] : largest;
    for (size_t i = 0; i < classes; i++)
        sum += exp(logits[i] - largest);
    return log(sum) + largest - logits[label];
}
