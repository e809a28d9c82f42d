#include "cli/arguments.h"

#include <CLI/CLI.hpp>
#include <utility>

namespace veza::cli {
namespace {

// CLI11's messages begin with a capital letter. Ours do not.
std::string InSmallLetters(std::string message) {
  if (message.size() > 1 && message[0] >= 'A' && message[0] <= 'Z') {
    message[0] = static_cast<char>(message[0] - 'A' + 'a');
  }
  return message;
}

template <typename Value>
CLI::Option* AddEachOf(CLI::App& app, const char* name,
                       std::function<Status(const Value&)> on_value, const char* help) {
  return app
      .add_option_function<Value>(
          name,
          [name, on_value = std::move(on_value)](const Value& value) {
            if (const Status status = on_value(value); !status) {
              throw CLI::ValidationError(name, status.error().message);
            }
          },
          help)
      ->allow_extra_args(false)
      ->trigger_on_parse();
}

// A variable of a script that is not set would be taken for an option that is not given. What is no
// option is named by the command that takes it.
CLI::Option* RefuseEmpty(CLI::Option* option) {
  if (option->get_positional()) {
    return option;
  }
  return option->check(CLI::Validator(
      [](const std::string& text) { return std::string(text.empty() ? "the value is empty" : ""); },
      ""));
}

}  // namespace

Option& Option::Required() {
  option_->required();
  return *this;
}

Option& Option::Excludes(const Option& other) {
  option_->excludes(other.option_);
  return *this;
}

Option& Option::TakesLast() {
  option_->take_last();
  return *this;
}

Option& Option::OneOf(const std::vector<std::string>& words) {
  option_->check(CLI::IsMember(words));
  return *this;
}

Option& Option::Range(int smallest, int largest) {
  option_->check(CLI::Range(smallest, largest));
  return *this;
}

Option& Option::TypeName(const char* name) {
  option_->type_name(name);
  return *this;
}

Option& Option::ShowsDefault() {
  option_->capture_default_str();
  return *this;
}

Option Command::Add(const char* name, std::string& value, const char* help) {
  return Option(RefuseEmpty(app_->add_option(name, value, help)));
}

Option Command::Add(const char* name, std::optional<std::string>& value, const char* help) {
  return Option(RefuseEmpty(app_->add_option(name, value, help)));
}

Option Command::Add(const char* name, int& value, const char* help) {
  return Option(app_->add_option(name, value, help));
}

Option Command::Add(const char* name, std::vector<std::string>& values, const char* help) {
  return Option(app_->add_option(name, values, help)->allow_extra_args(false));
}

Option Command::AddFlag(const char* name, bool& value, const char* help) {
  return Option(app_->add_flag(name, value, help));
}

Option Command::AddSize(const char* name, std::uint64_t& bytes, const char* help) {
  return Option(app_->add_option(name, bytes, help)->transform(CLI::AsSizeValue(false)));
}

Option Command::AddEach(const char* name, OnText on_value, const char* help) {
  return Option(AddEachOf<std::string>(*app_, name, std::move(on_value), help));
}

Option Command::AddEach(const char* name, OnNumber on_value, const char* help) {
  return Option(AddEachOf<double>(*app_, name, std::move(on_value), help));
}

Command Command::AddAlternatives(const char* title, const char* description) {
  CLI::Option_group* const group = app_->add_option_group(title, description);
  group->require_option(0, 1);
  return Command(group);
}

Command Command::AddCommand(const char* name, const char* description) {
  return Command(app_->add_subcommand(name, description));
}

void Command::RequireCommand() {
  app_->require_subcommand(1);
}

void Command::Hide() {
  app_->group("");
}

void Command::SetFooter(const char* text) {
  app_->footer(text);
}

std::string Command::name() const {
  return app_->get_name();
}

bool Command::was_given() const {
  return app_->parsed();
}

CommandLine::CommandLine(const char* program, const char* version, const char* description)
    : app_(std::make_unique<CLI::App>(description, program)) {
  app_->set_version_flag("--version", version);
  app_->require_subcommand(0, 1);
  app_->fallthrough();
}

CommandLine::~CommandLine() = default;

Result<bool> CommandLine::Parse(int argc, char** argv) {
  try {
    app_->parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    app_->exit(success);
    return false;
  } catch (const CLI::ParseError& error) {
    return MakeError(ErrorCode::kInvalidArgument, "{}", InSmallLetters(error.what()))
        .WithHint(kSeeHelp);
  }
  return true;
}

}  // namespace veza::cli
