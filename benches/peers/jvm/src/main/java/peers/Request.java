package peers;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonProperty;

/** What the job needs of a request. */
@JsonIgnoreProperties(ignoreUnknown = true)
public class Request {
    @JsonProperty("event_time_us")
    public long eventTimeUs;

    public String service;
    public String route;
    public int status;

    @JsonProperty("latency_us")
    public long latencyUs;
}
