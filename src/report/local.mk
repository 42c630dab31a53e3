libreel_a_SOURCES += src/report/report.h src/report/report_priv.h src/report/report.c src/report/read.c src/report/series.c \
  src/report/say.c src/report/text.c src/report/html.c src/report/plot.c
EXTRA_DIST += src/report/README.md
