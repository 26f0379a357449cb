/* statistics_line.c - a straight line through points, with how sure its slope is.
 *
 * Ordinary least squares; the slope's interval is slope ± t · s / sqrt(Sxx), with s² the residuals' sum of squares over n - 2 degrees of freedom
 * (Draper and Smith, Applied Regression Analysis, section 1.4). Quantiles of Student's t beyond tabulated ones come from the
 * expansion of Cornish and Fisher (Abramowitz and Stegun 26.7.5). */
#include <math.h>

#include "bench/statistics.h"

double statistics_student(size_t freedom)
{
    /* Abramowitz and Stegun, table 26.10. */
    static const double table[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228};
    if (freedom >= 1 && freedom <= sizeof(table) / sizeof(table[0])) {
        return table[freedom - 1];
    }
    double z = 1.959963985, n = (double)freedom;
    double z2 = z * z, z3 = z2 * z, z5 = z3 * z2, z7 = z5 * z2;
    return z + (z3 + z) / (4 * n) + (5 * z5 + 16 * z3 + 3 * z) / (96 * n * n) +
           (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * n * n * n);
}

bool statistics_line(const double *x, const double *y, size_t count, struct line_fit *ret_fit)
{
    double x_mean = 0, y_mean = 0, xx = 0, xy = 0, yy = 0;
    if (count < 3) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        x_mean += x[i] / (double)count;
        y_mean += y[i] / (double)count;
    }
    for (size_t i = 0; i < count; i++) {
        xx += (x[i] - x_mean) * (x[i] - x_mean);
        xy += (x[i] - x_mean) * (y[i] - y_mean);
        yy += (y[i] - y_mean) * (y[i] - y_mean);
    }
    if (!(xx > 0)) {
        return false;
    }
    double slope = xy / xx;
    double residual = fmax(0, yy - slope * xy);
    double error = statistics_student(count - 2) * sqrt(residual / (double)(count - 2) / xx);
    *ret_fit = (struct line_fit){.slope = slope,
                                 .intercept = y_mean - slope * x_mean,
                                 .slope_low = slope - error,
                                 .slope_high = slope + error,
                                 .r_squared = yy > 0 ? 1 - residual / yy : 1};
    return true;
}
