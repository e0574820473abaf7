/* bench/snapshot_plot.c: draws an SVG of time against written pages. Both axes are logarithmic. */
#include <math.h>
#include <string.h>

#include "snapshot.h"

enum { LEFT = 70, RIGHT = 610, TOP = 30, BOTTOM = 330 };

struct axes {
    double x_max, y_min, y_max;
};

static double x_of(const struct axes *axes, double pages) {
    return (double)LEFT + (double)(RIGHT - LEFT) * log2(pages) / log2(axes->x_max);
}

static double y_of(const struct axes *axes, double us) {
    return (double)BOTTOM -
           (double)(BOTTOM - TOP) * log(us / axes->y_min) / log(axes->y_max / axes->y_min);
}

static void grid_write(FILE *svg, const struct axes *axes) {
    for (double us = axes->y_min; us <= axes->y_max * 1.001; us *= 2) {
        double y = y_of(axes, us);
        fprintf(svg,
                "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#ddd\"/>"
                "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n",
                LEFT, y, RIGHT, y, LEFT - 8, y + 4, us);
    }
    for (double pages = 1; pages <= axes->x_max; pages *= 4)
        fprintf(svg, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n",
                x_of(axes, pages), BOTTOM + 20, pages);
    fprintf(svg,
            "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">pages written by the call</text>\n"
            "<text x=\"%d\" y=\"%d\">µs, median</text>\n",
            (LEFT + RIGHT) / 2, BOTTOM + 42, LEFT - 50, TOP - 12);
}

static void series_write(FILE *svg, const struct axes *axes, const struct plot_series *series,
                         size_t row) {
    fprintf(svg, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" points=\"",
            series->color);
    for (size_t i = 0; i < series->count; i++)
        fprintf(svg, "%.1f,%.1f ", x_of(axes, series->points[i].pages),
                y_of(axes, series->points[i].us));
    fputs("\"/>\n", svg);
    for (size_t i = 0; i < series->count; i++)
        fprintf(svg, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>\n",
                x_of(axes, series->points[i].pages), y_of(axes, series->points[i].us),
                series->color);
    fprintf(svg,
            "<line x1=\"90\" y1=\"%zu\" x2=\"114\" y2=\"%zu\" stroke=\"%s\" stroke-width=\"2\"/>"
            "<text x=\"120\" y=\"%zu\">%s</text>\n",
            TOP + 16 + 20 * row, TOP + 16 + 20 * row, series->color, TOP + 20 + 20 * row,
            series->name);
}

/* Powers of two around all values. */
static struct axes axes_make(const struct plot_series *series, size_t count, double bare_us) {
    struct axes axes = {2, bare_us, bare_us};
    for (size_t s = 0; s < count; s++) {
        for (size_t i = 0; i < series[s].count; i++) {
            axes.x_max = fmax(axes.x_max, series[s].points[i].pages);
            axes.y_min = fmin(axes.y_min, series[s].points[i].us);
            axes.y_max = fmax(axes.y_max, series[s].points[i].us);
        }
    }
    axes.y_min = exp2(floor(log2(axes.y_min)));
    axes.y_max = exp2(ceil(log2(axes.y_max)));
    return axes;
}

int plot_write(const char *path, const struct plot_series *series, size_t count, double bare_us) {
    struct axes axes = axes_make(series, count, bare_us);
    FILE *svg = fopen(path, "we");
    if (svg == NULL) {
        perror(path);
        return -1;
    }
    fputs("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 640 390\" "
          "font-family=\"sans-serif\" font-size=\"12\" fill=\"#333\">\n<rect width=\"640\" "
          "height=\"390\" fill=\"#fff\"/>\n",
          svg);
    grid_write(svg, &axes);
    double y = y_of(&axes, bare_us);
    fprintf(svg,
            "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#666\" "
            "stroke-dasharray=\"5 4\"/>"
            "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">bare KVM_RUN</text>\n",
            LEFT, y, RIGHT, y, RIGHT, y + 15);
    for (size_t s = 0; s < count; s++)
        series_write(svg, &axes, &series[s], s);
    fputs("</svg>\n", svg);
    if (fclose(svg) != 0) {
        perror(path);
        return -1;
    }
    return 0;
}
