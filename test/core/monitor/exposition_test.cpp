#include "core/monitor/exposition.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace veza {
namespace {

TEST(ExpositionTest, EachFamilyHasOneHead) {
  Exposition metrics(Exposition::Labels{{"cluster", "main"}});
  metrics.Family("a_seconds", "How long.");
  metrics.Sample(1.5, {{"phase", "one"}});
  metrics.Sample(2, {{"phase", "two"}});
  metrics.Gauge("b", "One \\ of\nthem.", 1764109645);
  metrics.Gauge("c", "Not known.", std::nullopt);
  metrics.Family("d", "Without samples.");
  EXPECT_EQ(metrics.text(),
            "# HELP a_seconds How long.\n"
            "# TYPE a_seconds gauge\n"
            "a_seconds{cluster=\"main\",phase=\"one\"} 1.5\n"
            "a_seconds{cluster=\"main\",phase=\"two\"} 2\n"
            "# HELP b One \\\\ of\\nthem.\n"
            "# TYPE b gauge\n"
            "b{cluster=\"main\"} 1764109645\n");
}

TEST(ExpositionTest, WithoutLabels) {
  Exposition metrics;
  metrics.Gauge("a", "Help.", 0);
  EXPECT_EQ(metrics.text(), "# HELP a Help.\n# TYPE a gauge\na 0\n");
}

TEST(ExpositionTest, EscapesLabelsAndWritesEveryNumber) {
  Exposition metrics;
  metrics.Gauge("a", "Help.", std::nan(""), {{"l", "x\"y\\z\nw\xff"}});
  metrics.Gauge("b", "Help.", std::numeric_limits<double>::infinity());
  metrics.Gauge("c", "Help.", -0.001);
  EXPECT_NE(metrics.text().find("a{l=\"x\\\"y\\\\z\\nw\xEF\xBF\xBD\"} NaN\n"), std::string::npos);
  EXPECT_NE(metrics.text().find("\nb +Inf\n"), std::string::npos);
  EXPECT_NE(metrics.text().find("\nc -0.001\n"), std::string::npos);
}

TEST(ExpositionTest, SamplesAreFound) {
  Exposition metrics(Exposition::Labels{{"cluster", "a } 7 b"}});
  metrics.Gauge("last_run", "Help.", 1);
  metrics.Gauge("last", "last_other 9", 2);
  EXPECT_EQ(FindSample(metrics.text(), "last_run"), 1);
  EXPECT_EQ(FindSample(metrics.text(), "last"), 2);
  EXPECT_EQ(FindSample(metrics.text(), "last_"), std::nullopt);
  EXPECT_EQ(FindSample("last x\nlast\nlast 3", "last"), 3);
  EXPECT_EQ(FindSample("", "last"), std::nullopt);
}

}  // namespace
}  // namespace veza
