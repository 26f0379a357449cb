/* openapi.c - the OpenAPI 3.1 document, made from the route table.
 *
 * Schemas are written here with ' for ", so that they can be read; the writer turns them. A test parses the document and
 * follows every reference, so that a route cannot name a schema that is not here. */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/json.h"
#include "base/limits.h"
#include "hub/route_table.h"

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
#define REF(name) "{'$ref':'#/components/schemas/" name "'}"
#define PAGE(item)                                                                                                     \
    "{'type':'object','required':['items','next_cursor'],'properties':{'items':{'type':'array','items':" REF(          \
        item) "},'next_cursor':{'type':['string','null']}}}"
#define COUNT "{'type':'integer','minimum':0}"
#define TIME "{'type':'string','format':'date-time'}"
#define DURATION "{'type':'integer','minimum':1,'maximum':31622400000}"

static const struct {
    const char *name, *json;
} schemas[] = {
    {"Any", "{}"},
    {"Empty", "{'type':'object','additionalProperties':false}"},
    {"Name", "{'type':'string','pattern':'^[A-Za-z0-9._-]+$','minLength':1,'maxLength':" TEXT(LIMIT_NAME_SIZE) "}"},
    {"TaskId", "{'type':'string','pattern':'^[0-9a-z]{13}$'}"},
    {"State",
     "{'type':'string','enum':['scheduled','blocked','ready','leased','validating','succeeded','dead','cancelled',"
     "'expired']}"},
    {"Problem",
     "{'type':'object','required':['title','status','code','retryable'],'properties':{'type':{'type':'string'},"
     "'title':{'type':'string'},'status':{'type':'integer'},'code':{'type':'string'},'detail':{'type':'string'},"
     "'retryable':{'type':'boolean'},'errors':{'type':'array','maxItems':8,'items':{'type':'object',"
     "'required':['pointer','full'],'properties':{'pointer':{'type':'string'},'detail':{'type':'string'}}}},"
     "'offset':" COUNT ",'limit':" COUNT "}}"},
    {"Requirement",
     "{'type':'object','additionalProperties':false,'properties':{'labels':{'type':'array','maxItems':" TEXT(
         LIMIT_LABELS) ",'items':{'type':'string','minLength':1,'maxLength':" TEXT(LIMIT_NAME_SIZE) "}},'cpu':{'type':'number','minimum':0},"
                                                                                                    "'memory_mib':" COUNT
                                                                                                    ",'gpu':" COUNT
                                                                                                    ",'alone':{'type':'boolean'}}}"},
    {"Retry",
     "{'type':'object','additionalProperties':false,'properties':{'max':{'type':'integer','minimum':1,'maximum':" TEXT(
         LIMIT_ATTEMPTS) ",'default':3},'base_ms':{'type':'integer','minimum':0,'default':1000},"
                         "'factor':{'type':'number','minimum':1,'maximum':1000,'default':2},'cap_ms':{'type':'integer','minimum':0,"
                         "'default':300000},'jitter':{'type':'number','minimum':0,'maximum':1,'default':0.1},"
                         "'not_retryable':{'type':'array','maxItems':16,'items':" REF("Name") "}}}"},
    {"Unique",
     "{'type':'object','additionalProperties':false,'required':['key'],'properties':{'key':{'type':'string','minLength':1,"
     "'maxLength':" TEXT(LIMIT_KEY_SIZE) "},'mode':{'enum':['queued','unfinished','time'],'default':'unfinished'},"
                                         "'for_ms':" DURATION "}}"},
    {"TaskSubmit",
     "{'type':'object','additionalProperties':false,'required':['kind'],'properties':{'kind':" REF("Name") ",'queue':" REF(
         "Name") ",'input':{},'priority':{'type':'integer','minimum':0,'maximum':9,'default':5},"
                 "'fairness_key':{'type':'string','minLength':1,'maxLength':" TEXT(
                     LIMIT_KEY_SIZE) "},'weight':{'type':'integer',"
                                     "'minimum':1,'maximum':" TEXT(
                                         LIMIT_WEIGHT_MAX) ",'default':1},'run_at':" TIME
                                                           ",'delay_ms':{'type':'integer',"
                                                           "'minimum':0},'ttl_ms':" DURATION ",'timeout_ms':" DURATION
                                                           ",'lease_ms':{'type':'integer','minimum':" TEXT(LIMIT_LEASE_MS_MIN) ",'maximum':" TEXT(LIMIT_LEASE_MS_MAX) ",'default':" TEXT(
                                                               LIMIT_LEASE_MS_DEFAULT) "},"
                                                                                       "'retry':" REF("Retry") ",'unique':" REF(
                                                                                           "Unique") ",'requires':" REF("Requirement") "}}"},
    {"TaskBatch",
     "{'oneOf':[{'type':'array','maxItems':" TEXT(LIMIT_BATCH_TASKS) ",'items':" REF(
         "TaskSubmit") "},{'type':'object',"
                       "'additionalProperties':false,'required':['tasks'],'properties':{'tasks':{'type':'array','maxItems':" TEXT(
                           LIMIT_BATCH_TASKS) ",'items':" REF("TaskSubmit") "}}}]}"},
    {"TaskShort",
     "{'type':'object','required':['id','state','queue','kind','seq'],'properties':{'id':" REF("TaskId") ",'state':" REF(
         "State") ",'queue':" REF("Name") ",'kind':" REF("Name") ",'duplicate':{'type':'boolean'},'seq':" COUNT "}}"},
    {"TaskOrShort", "{'anyOf':[" REF("Task") "," REF("TaskShort") "]}"},
    {"BatchResult",
     "{'type':'object','required':['results','accepted','refused','seq'],'properties':{'results':{'type':'array','items':"
     "{'anyOf':[" REF("BatchItem") ",{'type':'object','required':['error'],'properties':{'error':" REF(
         "Problem") "}}]}},"
                    "'accepted':" COUNT ",'refused':" COUNT ",'seq':" COUNT "}}"},
    {"BatchItem",
     "{'type':'object','required':['id','state','queue','kind'],'properties':{'id':" REF("TaskId") ",'state':" REF(
         "State") ",'queue':" REF("Name") ",'kind':" REF("Name") ",'duplicate':{'type':'boolean'}}}"},
    {"Error",
     "{'type':'object','required':['kind','message'],'properties':{'kind':{'type':'string'},'message':{'type':'string'},"
     "'detail':{}}}"},
    {"Task",
     "{'type':'object','required':['id','state','queue','kind','priority','weight','created_at','lease_ms','attempts',"
     "'attempts_failed','attempts_lost','retry','requires'],'properties':{'id':" REF("TaskId") ",'state':" REF("State") ",'queue':" REF(
         "Name") ",'kind':" REF("Name") ",'priority':{'type':'integer'},'fairness_key':{'type':'string'},"
                                        "'weight':{'type':'integer'},'created_at':" TIME ",'run_at':" TIME
                                        ",'started_at':" TIME ",'finished_at':" TIME ",'expires_at':" TIME
                                        ",'timeout_ms':" COUNT ",'lease_ms':" COUNT ",'attempts':" COUNT
                                        ",'attempts_failed':" COUNT ",'attempts_lost':" COUNT ",'retry':" REF(
                                            "Retry") ",'unique':{'type':'object','properties':{'key':{'type':'string'},'mode':{'type':'string'}}},'retry_of':{'type':'string'},"
                                                     "'requires':" REF(
                                                         "Requirement") ",'traceparent':{'type':'string'},'progress':{'type':'object','properties':"
                                                                        "{'permille':{'type':'integer'},'note':{'type':'string'}}},'lease':{'type':'object','properties':{'node':{'type':"
                                                                        "'string'},'attempt':{'type':'integer'},'expires_at':" TIME
                                                                        "}},'input':{},'result':{},'checkpoint':{},'error':" REF(
                                                                            "Error") ",'last_error':" REF("Error") "}}"},
    {"TaskPage", PAGE("Task")},
    {"TaskState", "{'type':'object','required':['id','state','seq'],'properties':{'id':" REF("TaskId") ",'state':" REF(
                      "State") ",'seq':" COUNT "}}"},
    {"TaskRetried", "{'type':'object','required':['id','state','retry_of','seq'],'properties':{'id':" REF(
                        "TaskId") ",'state':" REF("State") ",'retry_of':" REF("TaskId") ",'seq':" COUNT "}}"},
    {"Reason", "{'type':'object','additionalProperties':false,'properties':{'reason':{'type':'string','minLength':1,"
               "'maxLength':" TEXT(LIMIT_ERROR_SIZE) "}}}"},
    {"AttemptList",
     "{'type':'object','required':['items'],'properties':{'items':{'type':'array','items':{'type':'object','required':"
     "['attempt','outcome','node','started_at'],'properties':{'attempt':{'type':'integer'},'outcome':{'enum':['running',"
     "'succeeded','failed','lost','expired','timed_out','released','cancelled']},'node':{'type':'string'},'started_at':" TIME
     ",'ended_at':" TIME ",'error':" REF("Error") "}}}}}"},
    {"QueueSet", "{'type':'object','additionalProperties':false,'properties':{'paused':{'type':'boolean'}}}"},
    {"Queue", "{'type':'object','required':['name','paused','counts','totals'],'properties':{'name':" REF(
                  "Name") ",'paused':{'type':'boolean'},'created_at':" TIME
                          ",'counts':{'type':'object','additionalProperties':" COUNT
                          "},'totals':{'type':'object','additionalProperties':" COUNT "}}}"},
    {"QueuePage", PAGE("Queue")},
    {"Kind", "{'type':'object','required':['name'],'properties':{'name':" REF("Name") "}}"},
    {"KindPage", PAGE("Kind")},
    {"Node",
     "{'type':'object','required':['name','state','worker','draining','quiet','kinds','labels','credit','leases'],"
     "'properties':{'name':{'type':'string'},'state':{'enum':['live','suspect','gone']},"
     "'worker':{'type':'boolean'},'draining':{'type':'boolean'},'quiet':{'type':'boolean'},'kinds':{'type':'array','items':"
     "{'type':'string'}},'labels':{'type':'array','items':{'type':'string'}},'cpu':{'type':'number'},'memory_mib':" COUNT
     ",'gpu':" COUNT ",'credit':" COUNT ",'leases':" COUNT ",'succeeded':" COUNT ",'failed':" COUNT ",'lost':" COUNT
     ",'joined_at':" TIME ",'since':" TIME ",'load':{'type':'object','properties':{'cpu_permille':" COUNT
     ",'memory_used_mib':" COUNT ",'running':" COUNT "}},'info':{'type':'object'}}}"},
    {"NodePage", PAGE("Node")},
    {"LeasePoll",
     "{'type':'object','additionalProperties':false,'required':['node','kinds'],'properties':{'node':" REF("Name") ",'session':{'type':'string'},'kinds':{'type':'array','minItems':1,'maxItems':" TEXT(
         LIMIT_KINDS_PER_NODE) ",'items':" REF("Name") "},'labels':"
                                                       "{'type':'array','maxItems':" TEXT(
                                                           LIMIT_LABELS) ",'items':{'type':'string'}},'cpu':{'type':'number','minimum':0},"
                                                                         "'memory_mib':" COUNT ",'gpu':" COUNT
                                                                         ",'max':{'type':'integer','minimum':1,'maximum':1000,'default':1},'wait_ms':"
                                                                         "{'type':'integer','minimum':0,'maximum':" TEXT(
                                                                             LIMIT_WAIT_MS) ",'default':0}}}"},
    {"Lease",
     "{'type':'object','required':['token','task','attempt','kind','queue','input','lease_ms','expires_at'],'properties':"
     "{'token':{'type':'string'},'task':" REF("TaskId") ",'attempt':{'type':'integer'},'kind':" REF(
         "Name") ",'queue':" REF("Name") ",'input':{},'checkpoint':{},'traceparent':{'type':'string'},'lease_ms':" COUNT
                                         ",'timeout_ms':" COUNT ",'expires_at':" TIME "}}"},
    {"LeaseAnswer",
     "{'type':'object','required':['session','leases'],'properties':{'session':{'type':'string'},'leases':{'type':'array',"
     "'items':" REF("Lease") "}}}"},
    {"Outcome",
     "{'type':'object','required':['token','outcome'],'properties':{'token':{'type':'string'},'outcome':{'enum':['complete',"
     "'fail','extend','progress','release']},'result':{},'error':" REF(
         "Error") ",'final':{'type':'boolean'},'lease_ms':" COUNT
                  ",'permille':{'type':'integer','minimum':0,'maximum':1000},'note':{'type':'string'},'checkpoint':{},'message':"
                  "{'type':'string'}}}"},
    {"LeaseReport",
     "{'type':'object','additionalProperties':false,'required':['session','outcomes'],'properties':{'session':{'type':"
     "'string'},'outcomes':{'type':'array','items':" REF(
         "Outcome") "},'max':{'type':'integer','minimum':0,'maximum':1000,"
                    "'default':0},'wait_ms':{'type':'integer','minimum':0,'maximum':" TEXT(
                        LIMIT_WAIT_MS) ",'default':0}}}"},
    {"ReportAnswer",
     "{'type':'object','required':['session','results','leases'],'properties':{'session':{'type':'string'},'results':"
     "{'type':'array','items':{'type':'object','required':['token','ok'],'properties':{'token':{'type':'string'},'ok':"
     "{'type':'boolean'},'error':" REF("Problem") "}}},'leases':{'type':'array','items':" REF("Lease") "}}}"},
    {"Blob", "{'type':'object','required':['blob','size'],'properties':{'blob':{'type':'string'},'size':" COUNT "}}"},
    {"Health", "{'type':'object','required':['status'],'properties':{'status':{'const':'ok'}}}"},
    {"Ready",
     "{'type':'object','required':['ready','durability','seq','durable_seq'],'properties':{'ready':{'type':'boolean'},"
     "'durability':{'enum':['batch','interval','none']},'seq':" COUNT ",'durable_seq':" COUNT ",'snapshot_seq':" COUNT
     ",'history_seq':" COUNT
     ",'reasons':{'type':'array','items':{'type':'string'}},'full':{'type':'boolean'},'warnings':{'type':'array','items':{'type':'object','required':['table','used','max',"
     "'full'],'properties':{'table':{'type':'string'},'used':" COUNT ",'max':" COUNT ",'full':{'type':'boolean'}}}}}}"},
    {"StatusAnswer",
     "{'type':'object','required':['status','version','uptime_ms','seq'],'properties':{'status':{'const':'ok'},'version':"
     "{'type':'string'},'uptime_ms':" COUNT ",'seq':" COUNT "}}"},
};

/* Appends text with ' for ". */
static void put(struct buf *out, const char *text)
{
    for (const char *at = text; *at != '\0';) {
        size_t len = strcspn(at, "'");
        buf_append(out, at, len);
        at += len;
        if (*at == '\'') {
            buf_append_char(out, '"');
            at++;
        }
    }
}

static void put_content(struct buf *out, const char *media, const char *schema, size_t schema_len)
{
    buf_append_str(out, ",\"content\":{");
    json_write_str(out, slice_str(media));
    put(out, ":{'schema':{'$ref':'#/components/schemas/");
    buf_append(out, schema, schema_len);
    put(out, "'}}}");
}

static const char *reason_of(int status)
{
    switch (status) {
    case 101:
        return "Switching protocols.";
    case 200:
        return "Done.";
    case 201:
        return "Made.";
    case 204:
        return "Nothing to say.";
    case 206:
        return "A part.";
    case 304:
        return "Not modified.";
    default:
        break;
    }
    for (int i = 0; i < STATUS_COUNT; i++) {
        if (status_http((enum status)i) == status && status >= 400) {
            return status_title((enum status)i);
        }
    }
    return "See status.";
}

static void put_responses(struct buf *out, const struct route *route)
{
    put(out, ",'responses':{");
    bool is_first = true;
    for (const char *at = route->answers; *at != '\0';) {
        int status = atoi(at);
        const char *schema = at + strcspn(at, ":") + 1;
        size_t len = strcspn(schema, " ");
        if (!is_first) {
            buf_append_char(out, ',');
        }
        is_first = false;
        buf_printf(out, "\"%d\":{\"description\":", status);
        json_write_str(out, slice_str(reason_of(status)));
        if (len == 1 && *schema == '*') {
            put(out, ",'content':{'application/octet-stream':{}}");
        } else if (len == 4 && memcmp(schema, "text", 4) == 0) {
            put(out, ",'content':{'text/plain':{'schema':{'type':'string'}}}");
        } else if (!(len == 1 && *schema == '-')) {
            put_content(out, "application/json", schema, len);
        }
        put(out, ",'headers':{'Shoal-Seq':{'schema':{'type':'integer'}}}}");
        at = schema + len;
        at += strspn(at, " ");
    }
    for (const char *at = route->errors; *at != '\0';) {
        int status = atoi(at);
        bool is_there = false; /* 503 of readyz is an ordinary answer */
        for (const char *answer = route->answers; *answer != '\0' && !is_there;) {
            is_there = atoi(answer) == status;
            answer += strcspn(answer, " ");
            answer += strspn(answer, " ");
        }
        if (!is_there) {
            buf_printf(out, ",\"%d\":{\"description\":", status);
            json_write_str(out, slice_str(reason_of(status)));
            put_content(out, "application/problem+json", "Problem", strlen("Problem"));
            buf_append_char(out, '}');
        }
        at += strcspn(at, " ");
        at += strspn(at, " ");
    }
    put(out, ",'default':{'description':'Refused.'");
    put_content(out, "application/problem+json", "Problem", strlen("Problem"));
    put(out, "}}");
}

static void put_parameters(struct buf *out, const struct route *of, struct slice path)
{
    put(out, ",'parameters':[");
    bool is_first = true;
    const char *open = memchr(path.data, '{', path.len);
    if (open != NULL) {
        size_t len = strcspn(open + 1, "}");
        put(out, "{'name':'");
        buf_append(out, open + 1, len);
        put(out, "','in':'path','required':true,'schema':{'type':'string'}}");
        is_first = false;
    }
    for (unsigned i = 0; route_param_at(i) != NULL; i++) {
        const struct route_param_info *info = route_param_at(i);
        if ((of->params & info->bit) == 0) {
            continue;
        }
        buf_append_str(out, is_first ? "{\"name\":" : ",{\"name\":");
        is_first = false;
        json_write_str(out, slice_str(info->name));
        put(out, info->is_header ? ",'in':'header','description':" : ",'in':'query','description':");
        json_write_str(out, slice_str(info->summary));
        buf_printf(out, ",\"schema\":%s}", info->schema);
    }
    buf_append_char(out, ']');
}

static void put_operation(struct buf *out, const struct route *route)
{
    const struct route *of = route_at(route->of);
    static const char *const verbs[] = {"get", "head", "post", "put", "patch", "delete", "options"};
    buf_printf(out, "\"%s\":{\"operationId\":\"", verbs[route->method]);
    for (const char *at = route->operation; *at != '\0'; at++) {
        buf_append_char(out, *at >= 'A' && *at <= 'Z' ? (char)(*at - 'A' + 'a') : *at);
    }
    buf_printf(out, "\",\"tags\":[\"%s\"],\"summary\":", of->tag);
    json_write_str(out, slice_str(of->summary));
    put_parameters(out, of, route->path);
    if (of->body == BODY_STREAM) {
        put(out, ",'requestBody':{'required':true,'content':{'application/octet-stream':{}}}");
    } else if (of->body != BODY_NONE) {
        put(out, of->body == BODY_OPTIONAL ? ",'requestBody':{'required':false" : ",'requestBody':{'required':true");
        if (of->body == BODY_BATCH) {
            put(out, ",'content':{'application/json':{'schema':" REF(
                         "TaskBatch") "},'application/x-ndjson':{'schema':" REF("TaskSubmit") "}}");
        } else {
            put_content(out, "application/json", of->body_schema, strlen(of->body_schema));
        }
        buf_append_char(out, '}');
    }
    put_responses(out, of);
    buf_append_char(out, '}');
}

void route_table_openapi(struct buf *out, const char *version)
{
    put(out,
        "{'openapi':'3.1.0','info':{'title':'Shoal','summary':'Work submitted over HTTP runs on nodes, and its result "
        "comes back.','license':{'name':'Apache-2.0','identifier':'Apache-2.0'},'version':");
    json_write_str(out, slice_str(version));
    put(out, "},'paths':{");
    bool is_done[ROUTE_COUNT] = {false};
    bool is_first = true;
    for (unsigned i = 0; i < ROUTE_COUNT; i++) {
        if (is_done[i]) {
            continue;
        }
        struct slice path = route_at((enum route_id)i)->path;
        if (!is_first) {
            buf_append_char(out, ',');
        }
        is_first = false;
        json_write_str(out, path);
        buf_append_char(out, ':');
        char open = '{';
        for (unsigned k = i; k < ROUTE_COUNT; k++) {
            const struct route *route = route_at((enum route_id)k);
            if (!slice_equal(route->path, path)) {
                continue;
            }
            is_done[k] = true;
            buf_append_char(out, open);
            open = ',';
            put_operation(out, route);
        }
        buf_append_char(out, '}');
    }
    put(out, "},'components':{'schemas':{");
    for (size_t i = 0; i < ARRAY_COUNT(schemas); i++) {
        if (i > 0) {
            buf_append_char(out, ',');
        }
        json_write_str(out, slice_str(schemas[i].name));
        buf_append_char(out, ':');
        put(out, schemas[i].json);
    }
    put(out, "}}}");
}
