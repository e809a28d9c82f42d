#include "core/credentials/credential_request.h"

#include <arpa/inet.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "core/limits.h"
#include "core/s3/s3_address.h"

namespace veza {

Result<HttpResponse> AskForCredentials(CredentialRequest request, HttpOptions options,
                                       SteadyTime deadline, const Environment& environment) {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - environment.clock->Steady());
  if (left.count() <= 0) {
    return MakeError(ErrorCode::kCredentials, "{}: the time for it is over", request.purpose)
        .WithHint(request.hint)
        .Retryable();
  }
  options.connect_timeout = std::min(options.connect_timeout, left);
  options.stall_timeout = options.total_timeout = left;
  HttpRequest http;
  http.method = request.method;
  http.url = request.url;
  http.purpose = request.purpose;
  http.headers = std::move(request.headers);
  http.headers.emplace_back("user-agent: veza_backup/" VEZA_VERSION);
  http.headers.emplace_back("accept:");
  http.headers.emplace_back("expect:");
  http.body = request.body;
  http.body_limit = limits::kCredentialAnswer;
  ASSIGN_OR_RETURN(const std::unique_ptr<HttpTransfer> transfer, HttpTransfer::Make());
  Result<HttpResponse> response = transfer->Perform(http, options, *environment.cancellation);
  for (std::string& header : http.headers) {
    Wipe(header);
  }
  if (!response && response.error().code != ErrorCode::kCancelled) {
    return Error{ErrorCode::kCredentials, response.error().message, request.hint,
                 response.error().retryable};
  }
  return response;
}

std::string OriginOf(const std::string& url) {
  const std::size_t host = url.find("://");
  return host == std::string::npos ? "" : url.substr(0, url.find_first_of("/?#", host + 3));
}

bool MayBeAskedForCredentials(const std::string& url) {
  const std::optional<HttpUrl> parts = ParseHttpUrl(url);
  if (!parts) {
    return false;
  }
  constexpr std::string_view kServices[] = {"169.254.169.254", "169.254.170.2",  "169.254.170.23",
                                            "[fd00:ec2::254]", "[fd00:ec2::23]", "[::1]"};
  in_addr address{};
  return parts->scheme == "https" ||
         std::ranges::find(kServices, parts->host) != std::end(kServices) ||
         (inet_pton(AF_INET, parts->host.c_str(), &address) == 1 &&
          (ntohl(address.s_addr) >> 24) == 127);
}

}  // namespace veza
