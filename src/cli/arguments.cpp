#include "cli/arguments.h"

#include <CLI/CLI.hpp>
#include <algorithm>
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

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(separator, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

bool IsWord(const std::string& text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= 'a' && c <= 'z'; });
}

// CLI11 tells it as --help shows it: "FILE", "TEXT:{text,json}", "N:INT in [1 - 256]" or
// "latest|current|N".
void DescribeValue(const std::string& shown, OptionDescription& option) {
  const std::size_t colon = std::min(shown.find(':'), shown.size());
  option.value = shown.substr(0, colon);
  for (const std::string& part : Split(option.value, '|')) {
    if (IsWord(part)) {
      option.words.push_back(part);
    }
  }
  if (shown.find(":{", colon) == colon) {
    option.words = Split(shown.substr(colon + 2, shown.rfind('}') - colon - 2), ',');
  }
  const std::size_t range = shown.find(" in [", colon);
  if (range != std::string::npos) {
    const std::size_t begin = range + std::string_view(" in [").size();
    option.range = shown.substr(begin, shown.rfind(']') - begin);
  }
}

std::vector<std::string> NamesOf(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const std::string& name : option.get_snames()) {
    names.push_back("-" + name);
  }
  for (const std::string& name : option.get_lnames()) {
    names.push_back("--" + name);
  }
  if (names.empty()) {
    names.push_back(option.get_name(true));
  }
  return names;
}

OptionDescription DescribeOption(const CLI::Option& option, const std::string& group) {
  OptionDescription described;
  described.names = NamesOf(option);
  described.group = group;
  if (option.get_type_size_max() > 0) {
    DescribeValue(option.get_type_name(), described);
  }
  described.default_value = option.get_default_str();
  described.help = option.get_description();
  for (const CLI::Option* other : option.get_excludes()) {
    described.excludes.push_back(NamesOf(*other).back());
  }
  std::sort(described.excludes.begin(), described.excludes.end());
  described.positional = option.get_positional();
  described.required = option.get_required();
  described.repeats = option.get_items_expected_max() > 1 || option.get_trigger_on_parse();
  return described;
}

// For CLI11, alternatives are commands without a name.
CommandDescription DescribeCommand(const CLI::App& app, const std::string& path) {
  CommandDescription described;
  described.path = path;
  described.name = app.get_name();
  described.help = app.get_description();
  described.footer = app.get_footer();
  for (const CLI::Option* option : app.get_options()) {
    described.options.push_back(DescribeOption(*option, {}));
  }
  for (const CLI::App* inner : app.get_subcommands(nullptr)) {
    if (inner->get_name().empty()) {
      for (const CLI::Option* option : inner->get_options()) {
        described.options.push_back(DescribeOption(*option, inner->get_group()));
      }
    } else if (!inner->get_group().empty()) {
      described.commands.push_back(DescribeCommand(*inner, path + " " + inner->get_name()));
    }
  }
  return described;
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

CommandDescription Command::Describe() const {
  std::string path = app_->get_name();
  for (const CLI::App* parent = app_->get_parent(); parent != nullptr;
       parent = parent->get_parent()) {
    path.insert(0, parent->get_name() + " ");
  }
  return DescribeCommand(*app_, path);
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
