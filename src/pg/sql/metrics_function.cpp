// Implements the view veza_backup_metrics. While the repository cannot be read, it shows only the
// metrics of the server.

#include "core/codec/json.h"
#include "pg/schedule/node_metrics.h"
#include "pg/sql/rows_call.h"
//
#include "pg/shared/shared_memory.h"
#include "pg/sql/sql_function.h"

namespace veza::pg {

namespace {

class MetricsCall final : public RowsCall {
 public:
  ~MetricsCall() override { StopAndJoin(); }
  void ReadServer() { snapshot_ = TakeNodeSnapshot(); }

 private:
  Status Work() override {
    const Result<RepositoryFacts> repository = ReadRepository();
    RETURN_IF_ERROR(environment_.cancellation->Check());
    ASSIGN_OR_RETURN(
        const std::vector<Metric> metrics,
        CollectMetrics(config_, facts_, snapshot_, repository ? &*repository : nullptr));
    for (const Metric& metric : metrics) {
      Json labels = Json::Object();
      for (const auto& [name, value] : metric.labels) {
        labels[name] = value;
      }
      rows_.push_back({metric.name, labels.Print(), fmt::format("{}", metric.value), metric.help});
    }
    return Ok();
  }

  Result<RepositoryFacts> ReadRepository() {
    ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository, Open());
    return ReadRepositoryFacts(*repository, facts_.system_identifier);
  }

  NodeSnapshot snapshot_{};
};

}  // namespace
}  // namespace veza::pg

VEZA_SQL_FUNCTION(veza_backup_get_metrics) {
  using namespace veza::pg;
  RequireSharedMemory();
  auto* const call = NewInContext<MetricsCall>();
  PrepareOrRaise(call);
  call->ReadServer();
  RunCall(call, FunctionWaitEvent());
  return EmitRows(fcinfo, call);
}
