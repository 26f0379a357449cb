/* statistics_scaling.c - how throughput grows with load or size: Gunther's Universal Scalability Law.
 *
 *   x(n) = lambda n / (1 + sigma (n - 1) + kappa n (n - 1))
 *
 * lambda is what one gives, sigma the share that has to wait in line (Amdahl), kappa what it costs that each speaks with each;
 * with kappa > 0 there is a peak at n = sqrt((1 - sigma) / kappa) (Gunther, Guerrilla Capacity Planning, 2007, chapter 4).
 * n / x(n) = a + b (n - 1) + c n (n - 1) with a = 1/lambda, b = sigma/lambda, c = kappa/lambda is linear in a, b, c; weighted so
 * that the residuals are relative to x it gives a start, from which a few steps of Levenberg and Marquardt lead to the least
 * squares of the relative residuals themselves. b and c must not be negative: each is either free or 0, and of the four
 * choices the best that is allowed counts. */
#include <math.h>
#include <string.h>

#include "bench/statistics.h"

#define STEPS 60

static void terms(double n, double ret[3])
{
    ret[0] = 1;
    ret[1] = n - 1;
    ret[2] = n * (n - 1);
}

/* Solves the symmetric system of the `free` terms by elimination with pivots; what is not free becomes 0. */
static bool solve(const double matrix[3][3], const double right[3], const bool is_free[3], double ret[3])
{
    double rows[3][4];
    int index[3] = {0}, size = 0;
    for (int i = 0; i < 3; i++) {
        ret[i] = 0;
        if (is_free[i]) {
            index[size++] = i;
        }
    }
    for (int i = 0; i < size; i++) {
        for (int k = 0; k < size; k++) {
            rows[i][k] = matrix[index[i]][index[k]];
        }
        rows[i][size] = right[index[i]];
    }
    for (int i = 0; i < size; i++) {
        int pivot = i;
        for (int k = i + 1; k < size; k++) {
            pivot = fabs(rows[k][i]) > fabs(rows[pivot][i]) ? k : pivot;
        }
        if (!(fabs(rows[pivot][i]) > 1e-300)) {
            return false;
        }
        for (int k = i; k <= size && pivot != i; k++) {
            double value = rows[i][k];
            rows[i][k] = rows[pivot][k];
            rows[pivot][k] = value;
        }
        for (int k = 0; k < size; k++) {
            double factor = k != i ? rows[k][i] / rows[i][i] : 0;
            for (int j = i; j <= size && factor != 0; j++) {
                rows[k][j] -= factor * rows[i][j];
            }
        }
    }
    for (int i = 0; i < size; i++) {
        ret[index[i]] = rows[i][size] / rows[i][i];
    }
    return true;
}

static bool is_allowed(const double abc[3])
{
    return abc[0] > 0 && abc[1] >= 0 && abc[2] >= 0 && isfinite(abc[0] + abc[1] + abc[2]);
}

static double fitted(const double abc[3], double n)
{
    return n / (abc[0] + abc[1] * (n - 1) + abc[2] * n * (n - 1));
}

static double squares(const double abc[3], const double *n, const double *x, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        double residual = fitted(abc, n[i]) / x[i] - 1;
        sum += residual * residual;
    }
    return sum;
}

/* Scaled by the largest n, so that the three columns have like sizes. */
static bool start(const double *n, const double *x, size_t count, const bool is_free[3], double ret[3])
{
    double matrix[3][3] = {{0}}, right[3] = {0};
    for (size_t i = 0; i < count; i++) {
        double t[3], weight = x[i] / n[i];
        terms(n[i], t);
        for (int j = 0; j < 3; j++) {
            for (int k = 0; k < 3; k++) {
                matrix[j][k] += t[j] * t[k] * weight * weight;
            }
            right[j] += t[j] * weight; /* of n / x, weighted twice */
        }
    }
    return solve(matrix, right, is_free, ret);
}

static void improve(const double *n, const double *x, size_t count, const bool is_free[3], double abc[3])
{
    double damping = 1e-3, now = squares(abc, n, x, count);
    for (int step = 0; step < STEPS; step++) {
        double matrix[3][3] = {{0}}, right[3] = {0}, delta[3], next[3];
        for (size_t i = 0; i < count; i++) {
            double t[3], y = fitted(abc, n[i]), slope = -y * y / n[i] / x[i], residual = y / x[i] - 1;
            terms(n[i], t);
            for (int j = 0; j < 3; j++) {
                for (int k = 0; k < 3; k++) {
                    matrix[j][k] += slope * slope * t[j] * t[k];
                }
                right[j] -= slope * t[j] * residual;
            }
        }
        for (int j = 0; j < 3; j++) {
            matrix[j][j] *= 1 + damping;
        }
        if (!solve(matrix, right, is_free, delta)) {
            return;
        }
        for (int j = 0; j < 3; j++) {
            next[j] = abc[j] + delta[j];
        }
        double then = is_allowed(next) ? squares(next, n, x, count) : INFINITY;
        if (then < now) {
            memcpy(abc, next, sizeof(next));
            now = then;
            damping = fmax(damping / 10, 1e-12);
        } else if ((damping *= 10) > 1e12) {
            return;
        }
    }
}

static bool is_usable(const double *n, const double *x, size_t count)
{
    size_t different = 0;
    for (size_t i = 0; i < count; i++) {
        bool is_new = true;
        if (!(n[i] > 0) || !(x[i] > 0) || !isfinite(n[i]) || !isfinite(x[i])) {
            return false;
        }
        for (size_t k = 0; k < i; k++) {
            is_new = is_new && n[k] != n[i];
        }
        different += is_new;
    }
    return different >= 3;
}

bool statistics_scaling(const double *n, const double *x, size_t count, struct scaling_fit *ret_fit,
                        double *ret_residuals)
{
    double best[3] = {0}, best_squares = INFINITY;
    if (!is_usable(n, x, count)) {
        return false;
    }
    for (unsigned choice = 0; choice < 4; choice++) {
        const bool is_free[3] = {true, (choice & 1) != 0, (choice & 2) != 0};
        double abc[3];
        if (!start(n, x, count, is_free, abc) || !is_allowed(abc)) {
            continue;
        }
        improve(n, x, count, is_free, abc);
        double sum = squares(abc, n, x, count);
        if (sum < best_squares) {
            best_squares = sum;
            memcpy(best, abc, sizeof(best));
        }
    }
    if (!isfinite(best_squares)) {
        return false;
    }
    double lambda = 1 / best[0], sigma = best[1] / best[0], kappa = best[2] / best[0];
    bool has_peak = kappa > 0 && sigma < 1;
    double peak = has_peak ? sqrt((1 - sigma) / kappa) : kappa > 0 ? 1 : INFINITY;
    *ret_fit = (struct scaling_fit){.lambda = lambda,
                                    .sigma = sigma,
                                    .kappa = kappa,
                                    .peak_n = peak,
                                    .peak_x = isfinite(peak) ? fitted(best, peak)
                                              : sigma > 0    ? lambda / sigma
                                                             : INFINITY,
                                    .residual_rms = sqrt(best_squares / (double)count)};
    for (size_t i = 0; i < count && ret_residuals != NULL; i++) {
        ret_residuals[i] = 1 - fitted(best, n[i]) / x[i];
    }
    return true;
}
